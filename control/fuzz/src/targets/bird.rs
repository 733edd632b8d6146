//! No words on BIRD's control socket, in whatever pieces, make a conversation with it panic, hang, read more than its bound,
//! take anything for success that is none, or bring words into an error or the status that are long, end a line, or steer a
//! terminal.

use std::time::Duration;

use guideway::announce::bird::{MAX_BYTES, look_on, switch_on};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::virtual_time;

/// Bytes that are on the way at one time.
const IN_FLIGHT: usize = 4_096;

/// Longest text that comes of a conversation, in bytes: BIRD's words, and those around them.
const LONGEST_TEXT: usize = 1_200;

/// Name of the protocol that is spoken of.
const PROTOCOL: &str = "vip_web";

/// Runs the target on these bytes: the first one chooses question and pieces, the others are BIRD's words.
pub(crate) fn run(bytes: &[u8]) {
    let Some((choice, said)) = bytes.split_first() else { return };
    let (question, piece) = (choice % 3, 1 + usize::from(choice / 3) * 7);
    virtual_time(async {
        let (ours, theirs) = duplex(IN_FLIGHT);
        let question = async {
            let asked = async {
                match question {
                    0 => look_on(ours, PROTOCOL).await,
                    1 => switch_on(ours, PROTOCOL, false).await.map(|()| String::new()),
                    _ => switch_on(ours, PROTOCOL, true).await.map(|()| String::new()),
                }
            };
            // BIRD has three seconds.
            tokio::time::timeout(Duration::from_secs(3), asked).await.ok()
        };
        let (ended, taken) = tokio::join!(question, speak(theirs, said, piece));
        assert!(taken <= MAX_BYTES as usize + IN_FLIGHT, "{taken} bytes were read");
        let code =
            |code: &&str| said.split(|byte| *byte == b'\n').any(|line| line.starts_with(code.as_bytes()));
        // Codes of a change come in pairs: the protocol is as it was, or has changed.
        let answers = [&["1002"][..], &["0008", "0009"], &["0010", "0011"]][usize::from(choice % 3)];
        if let Some(Ok(text) | Err(text)) = &ended {
            assert!(text.len() <= LONGEST_TEXT, "{} bytes of text", text.len());
            let turns = |letter| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            assert!(!text.contains(|letter: char| letter.is_control() || turns(letter)), "{text:?}");
        }
        match ended {
            Some(Ok(_)) => {
                assert!(code(&"0001") && answers.iter().any(code), "nobody has said so");
            }
            Some(Err(error)) => assert!(!error.is_empty()),
            None => {}
        }
    });
}

/// Speaks as BIRD, greeting first, and hears what it is asked. Returns the number of bytes that were taken.
async fn speak(mut stream: DuplexStream, said: &[u8], piece: usize) -> usize {
    let mut taken = 0;
    for piece in said.chunks(piece) {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        taken += piece.len();
    }
    // Silence, and then the end.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 256])).await;
    taken
}
