//! The text that the beginning of a body must hold.

use super::ProbeError;

/// How much of a body is searched, and so how much of it is kept: Google Cloud looks at "the first 1024 bytes of the
/// HTTP response body".
pub(super) const MAX_BODY_BYTES: usize = 1024;

/// Looks for a text in a body that comes in pieces.
#[derive(Debug)]
pub(super) struct ExpectedText<'a> {
    text: &'a [u8],
    seen: Vec<u8>,
}

impl<'a> ExpectedText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), seen: Vec::new() }
    }

    /// Whether any body will do: none is read then.
    pub(super) fn is_none(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes the next piece of the body; whether the text has been found by now.
    ///
    /// # Errors
    /// The text is not where it is looked for.
    pub(super) fn is_found_with(&mut self, piece: &[u8]) -> Result<bool, ProbeError> {
        // The text may begin in an earlier piece, but not so early that it would have been found there.
        let from = self.seen.len().saturating_sub(self.text.len().saturating_sub(1));
        let room = MAX_BODY_BYTES - self.seen.len();
        self.seen.extend_from_slice(&piece[..piece.len().min(room)]);
        if self.text.is_empty()
            || self.seen[from..].windows(self.text.len()).any(|window| window == self.text)
        {
            return Ok(true);
        }
        if self.seen.len() == MAX_BODY_BYTES { Err(ProbeError::UnexpectedAnswer) } else { Ok(false) }
    }
}
