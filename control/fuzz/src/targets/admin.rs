//! No bytes on the admin socket, in whatever pieces, make its server panic, fail, answer without saying what is wrong, or let
//! a client change anything who may only look.

mod answers;
mod supervisor;

use std::time::Duration;

use guideway::api::admin::server::serve_stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::virtual_time;
use answers::inspect;
use supervisor::play;

/// Bytes that are on the way at one time.
const IN_FLIGHT: usize = 4_096;

/// Time for which a client listens: every bound of the server ends earlier.
const LISTENS: Duration = Duration::from_secs(600);

/// Largest number of bytes of answers that are read.
const MAX_ANSWERS: u64 = 1 << 30;

/// Runs the target on these bytes: the first one chooses the client's rights and pieces, the others are the client's.
pub(crate) fn run(bytes: &[u8]) {
    let Some((choice, said)) = bytes.split_first() else { return };
    let may_change = choice & 1 == 0;
    let piece = match choice >> 1 {
        0 => said.len().max(1),
        pieces => usize::from(pieces) * 5,
    };
    let answers = virtual_time(async {
        let (theirs, ours) = duplex(IN_FLIGHT);
        let (mut reader, mut writer) = split(ours);
        let (requests, asked) = mpsc::channel(4);
        let serving = serve_stream(theirs, may_change, requests);
        let client = async {
            let speak = async {
                for piece in said.chunks(piece) {
                    if writer.write_all(piece).await.is_err() {
                        break;
                    }
                }
            };
            let listen = async {
                let mut answers = Vec::new();
                let _ = (&mut reader).take(MAX_ANSWERS).read_to_end(&mut answers).await;
                answers
            };
            let heard = timeout(LISTENS, async { tokio::join!(speak, listen).1 }).await;
            heard.expect("the server ends every conversation by itself")
        };
        tokio::join!(client, serving, play(asked, may_change)).0
    });
    inspect(&answers);
}
