//! Errors: the reason why a request was not answered, or a command not done.

use serde::{Deserialize, Serialize};

/// Body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorView {
    /// Stable word for the error.
    pub error: String,
    /// Sentence that tells what is wrong.
    pub message: String,
    /// Sentence that tells how to right it.
    pub help: String,
    /// Name of the wrong configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Errors in the configuration file, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<LocatedError>,
    /// Errors rendered for people, with the lines of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

/// Error in a configuration file, with its location there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedError {
    /// Path of the file, unless it is the main file of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line on which the error begins, from 1.
    pub line: usize,
    /// Character of the line at which the error begins, from 1.
    pub column: usize,
    /// Sentence that tells what is wrong.
    pub message: String,
    /// Sentence that tells how to right it.
    pub help: String,
}
