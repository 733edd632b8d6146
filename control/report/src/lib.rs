//! Reports as one HTML page: charts, the tables behind them, and the words that say how to read them.
//!
//! A page is one file without scripts, fonts or anything else from outside, and is XML too. It is read on a phone and on a
//! wide screen, in the light and in the dark: each chart is drawn twice, for narrow and for wide pages, and the style sheet
//! shows one of the two. `guideway replay --html` and `guideway-bench report` make their pages of it.
//!
//! Pure: data in, text out.

pub mod chart;
pub mod markup;
pub mod page;
