//! The text that the beginning of a body must hold.

use super::ProbeError;

/// The bytes of a body that are searched, and so kept: Google Cloud looks at "the first 1024 bytes
/// of the HTTP response body".
pub(super) const MAX_BODY_BYTES: usize = 1024;

/// A search for a text in a body that comes in pieces.
#[derive(Debug)]
pub(super) struct ExpectedText<'a> {
    text: &'a [u8],
    seen: Vec<u8>,
}

impl<'a> ExpectedText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), seen: Vec::new() }
    }

    /// True if any body will do: none is read then.
    pub(super) fn is_none(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes the next piece of the body; true if the text has been found by now.
    ///
    /// # Errors
    /// [`ProbeError::UnexpectedAnswer`] where the text is not in the bytes that are searched.
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Answers of the search after each piece, until the text is found or cannot be.
    fn search(text: &str, pieces: &[&[u8]]) -> Vec<Result<bool, ProbeError>> {
        let mut expected = ExpectedText::new(text);
        let mut found = Vec::new();
        for piece in pieces {
            found.push(expected.is_found_with(piece));
            if *found.last().expect("it was pushed") != Ok(false) {
                break;
            }
        }
        found
    }

    #[test]
    fn a_text_is_found_anywhere() {
        assert_eq!(search("OK", &[b"OK"]), [Ok(true)]);
        assert_eq!(search("OK", &[b"all is OK now"]), [Ok(true)]);
        assert_eq!(search("OK", &[b"ok"]), [Ok(false)]);
    }

    #[test]
    fn a_text_is_found_across_pieces() {
        assert_eq!(
            search("healthy", &[b"I am he", b"al", b"", b"thy"]),
            [Ok(false), Ok(false), Ok(false), Ok(true)]
        );
        assert_eq!(search("aab", &[b"aa", b"ab"]), [Ok(false), Ok(true)]);
    }

    #[test]
    fn a_text_counts_up_to_byte_1024() {
        let before = [b'.'; MAX_BODY_BYTES - 2];
        assert_eq!(search("OK", &[&before, b"OK"]), [Ok(false), Ok(true)]);
        assert_eq!(search("OK", &[&before, b".OK"]), [Ok(false), Err(ProbeError::UnexpectedAnswer)]);
        let long = [b"..".as_slice(), &before, b"OK"].concat();
        assert_eq!(search("OK", &[&long]), [Err(ProbeError::UnexpectedAnswer)]);
    }

    #[test]
    fn no_more_than_is_searched_is_kept() {
        let mut expected = ExpectedText::new("OK");
        assert!(expected.is_found_with(&[b'.'; 100_000]).is_err());
        assert_eq!(expected.seen.len(), MAX_BODY_BYTES);
    }

    proptest! {
        #[test]
        fn pieces_find_what_the_whole_holds(
            text in "[ab]{1,6}",
            pieces in vec(prop_oneof![vec(97..99_u8, 0..8), vec(97..99_u8, 0..900)], 0..8),
        ) {
            let whole = pieces.concat();
            let searched = &whole[..whole.len().min(MAX_BODY_BYTES)];
            let is_held = searched.windows(text.len()).any(|window| window == text.as_bytes());
            let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(search(&text, &pieces).last() == Some(&Ok(true)), is_held);
        }
    }
}
