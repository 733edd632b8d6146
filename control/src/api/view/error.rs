//! Why a request was not answered, or a command not done.

use serde::{Deserialize, Serialize};

/// The body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorView {
    /// What is wrong, in a stable word.
    pub error: String,
    /// What is wrong, in words.
    pub message: String,
    /// How to right it.
    pub help: String,
    /// The configuration file that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What is wrong with it, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<WrongPlace>,
    /// The same for people, with the lines of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongPlace {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// The character of the line at which it begins, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to right it.
    pub help: String,
}
