//! Moves packets: captures, bursts, workers, snapshot publishing.
