//! Searches the rates that a device forwards without loss and with little, in the manner of RFC 2544 and MLRsearch.
#![allow(dead_code)]
mod goal;
mod record;
mod search;
