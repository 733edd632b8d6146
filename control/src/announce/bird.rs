//! BIRD's control socket: enables and disables a protocol.
//!
//! BIRD's side, by `nest/cli.c`: it greets with `0001`, and answers each line with lines of a four-digit code and a text.
//! After the code of the last comes a space, after that of all before it a hyphen; a line that begins with a space goes on
//! under the code before, and one that begins with `+` is of its log. Codes of 8000 and more are errors.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Take};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::words::shown;

/// Longest wait for BIRD's answer.
const TIME: Duration = Duration::from_secs(3);

/// Longest conversation, in bytes that BIRD says.
pub const MAX_BYTES: u64 = 64 << 10;

/// Code of BIRD's greeting: "BIRD … ready."
const GREETING: u16 = 1;

/// Code of a line of `show protocols`: a protocol, after the table's head.
const PROTOCOL_ROW: u16 = 1_002;

/// First code of an error.
const FIRST_ERROR: u16 = 8_000;

/// Enables or disables a protocol, whose name must be no pattern; one that is so already is no error.
pub(super) async fn switch(socket: &Path, protocol: &str, enabled: bool) -> Result<(), String> {
    told(socket, async { switch_on(connect(socket).await?, protocol, enabled).await }).await
}

/// Asks for a protocol, and changes nothing. Returns BIRD's words: the protocol's state among them.
pub(super) async fn look(socket: &Path, protocol: &str) -> Result<String, String> {
    told(socket, async { look_on(connect(socket).await?, protocol).await }).await
}

/// Waits for the end of a conversation, and names the socket in its error.
async fn told<T>(socket: &Path, conversation: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let ended = timeout(TIME, conversation).await;
    let ended = ended.unwrap_or_else(|_| Err(format!("no answer within {} s", TIME.as_secs())));
    ended.map_err(|error| format!("BIRD on {}: {error}", socket.display()))
}

/// Asks for a protocol as an announcement does, on a connection that BIRD has accepted.
///
/// # Errors
/// Words of BIRD, or the reason why it is not understood.
pub async fn look_on(stream: impl AsyncRead + AsyncWrite + Unpin, protocol: &str) -> Result<String, String> {
    let command = format!("show protocols \"{protocol}\"\n");
    let reply = ask(&mut greeted(stream).await?, &command).await?;
    if reply.iter().any(|line| line.code >= FIRST_ERROR) {
        return Err(format!("`{}` is answered with {}", command.trim_end(), words(&reply)));
    }
    let row = reply.iter().find(|line| line.code == PROTOCOL_ROW);
    row.map(|line| shown(&line.text.split_whitespace().collect::<Vec<_>>().join(" ")))
        .ok_or_else(|| format!("it has no protocol `{protocol}`"))
}

/// Connects to BIRD.
async fn connect(socket: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such socket: is it running?".to_owned(),
        ErrorKind::ConnectionRefused => "nobody answers: is it running?".to_owned(),
        ErrorKind::PermissionDenied => "the socket is not for this user: be in its group".to_owned(),
        _ => error.to_string(),
    })
}

/// Waits for BIRD to greet.
async fn greeted<S: AsyncRead + Unpin>(stream: S) -> Result<BufReader<Take<S>>, String> {
    let mut stream = BufReader::new(stream.take(MAX_BYTES));
    let greeting = reply(&mut stream).await?;
    if !greeting.iter().any(|line| line.code == GREETING) {
        return Err(format!("it greets with {}: is this BIRD's socket?", words(&greeting)));
    }
    Ok(stream)
}

/// Sends a command, and reads what BIRD replies.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<Take<S>>,
    command: &str,
) -> Result<Vec<Line>, String> {
    stream.get_mut().get_mut().write_all(command.as_bytes()).await.map_err(|error| error.to_string())?;
    reply(stream).await
}

/// Enables or disables a protocol as an announcement does, on a connection that BIRD has accepted.
///
/// # Errors
/// Words of BIRD, or the reason why it is not understood.
pub async fn switch_on(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    protocol: &str,
    enabled: bool,
) -> Result<(), String> {
    let mut stream = greeted(stream).await?;
    // Of the code for a change, and that for none, `proto_cmd_enable` and `proto_cmd_disable` in `nest/proto.c`.
    let (verb, expected) = if enabled { ("enable", [11, 10]) } else { ("disable", [9, 8]) };
    let command = format!("{verb} \"{protocol}\"\n");
    let reply = ask(&mut stream, &command).await?;
    if reply.iter().all(|line| line.code < FIRST_ERROR)
        && reply.iter().any(|line| expected.contains(&line.code))
    {
        return Ok(());
    }
    Err(format!("`{}` is answered with {}", command.trim_end(), words(&reply)))
}

/// Line of a reply.
struct Line {
    code: u16,
    text: String,
}

/// Reads the lines of a reply, each with its code.
async fn reply<S: AsyncRead + Unpin>(stream: &mut BufReader<Take<S>>) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = stream.read_until(b'\n', &mut line).await;
        let read =
            read.and_then(
                |length| {
                    if length > 0 { Ok(line) } else { Err(Error::from(ErrorKind::UnexpectedEof)) }
                },
            );
        let line = read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => "it ends the conversation".to_owned(),
            _ => error.to_string(),
        })?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        match line.as_bytes() {
            [b'+' | b' ', ..] => {}
            [] => return Err("it says nothing: is this BIRD's socket?".to_owned()),
            bytes => {
                let code = line.get(..4).and_then(|code| code.parse().ok());
                let code =
                    code.ok_or_else(|| format!("it says `{}`: is this BIRD's socket?", shown(line)))?;
                lines.push(Line { code, text: line.get(5..).unwrap_or_default().to_owned() });
                if bytes.get(4) != Some(&b'-') {
                    return Ok(lines);
                }
            }
        }
    }
}

fn words(reply: &[Line]) -> String {
    let lines: Vec<_> = reply.iter().map(|line| format!("{:04} {}", line.code, line.text)).collect();
    format!("`{}`", shown(&lines.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    /// Runs a command against a BIRD that says `greeting` and then `answer`: its result, and what BIRD was told.
    fn told(greeting: &'static str, answer: &'static str, enabled: bool) -> (Result<(), String>, String) {
        let directory = tempfile::tempdir().expect("a directory of its own");
        let socket = directory.path().join("bird.ctl");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = UnixListener::bind(&socket).expect("the directory is there");
            let bird = async {
                let (mut stream, _) = listener.accept().await.expect("somebody connects");
                stream.write_all(greeting.as_bytes()).await.expect("it listens");
                let mut command = vec![0; 100];
                let length = stream.read(&mut command).await.unwrap_or(0);
                let _ = stream.write_all(answer.as_bytes()).await;
                String::from_utf8_lossy(&command[..length]).into_owned()
            };
            let (switched, command) = tokio::join!(switch(&socket, "vip_web", enabled), bird);
            let prefix = format!("BIRD on {}: ", socket.display());
            (switched.map_err(|error| error.replace(&prefix, "")), command)
        })
    }

    const READY: &str = "0001 BIRD 2.0.12 ready.\n";

    #[test]
    fn a_protocol_is_enabled_and_disabled_whether_it_was_or_not() {
        for (enabled, command, answer) in [
            (true, "enable \"vip_web\"\n", "0011-vip_web: enabled\n0000 \n"),
            (true, "enable \"vip_web\"\n", "0010-vip_web: already enabled\n0000 \n"),
            (false, "disable \"vip_web\"\n", "0009-vip_web: disabled\n0000 \n"),
            (
                false,
                "disable \"vip_web\"\n",
                "+a line of its log\n0008-vip_web: already disabled\n more\n0000 \n",
            ),
        ] {
            assert_eq!(told(READY, answer, enabled), (Ok(()), command.to_owned()), "{answer}");
        }
    }

    #[test]
    fn whatever_else_bird_says_is_an_error_in_its_words() {
        for (greeting, answer, error) in [
            (
                READY,
                "8003 No protocols match\n",
                "`enable \"vip_web\"` is answered with `8003 No protocols match`",
            ),
            (READY, "8007 Access denied\n", "`enable \"vip_web\"` is answered with `8007 Access denied`"),
            (
                READY,
                "0009-vip_web: disabled\n0000 \n",
                "`enable \"vip_web\"` is answered with `0009 vip_web: disabled; 0000 `",
            ),
            (READY, "", "it ends the conversation"),
            ("HTTP/1.1 400 Bad Request\n", "", "it says `HTTP/1.1 400 Bad Request`: is this BIRD's socket?"),
            ("ok\n", "", "it says `ok`: is this BIRD's socket?"),
            ("\n", "", "it says nothing: is this BIRD's socket?"),
            ("0013 Status\n", "", "it greets with `0013 Status`: is this BIRD's socket?"),
        ] {
            assert_eq!(told(greeting, answer, true).0, Err(error.to_owned()), "{greeting}{answer}");
        }
    }

    #[test]
    fn what_bird_says_is_shown_in_short_and_steers_no_terminal() {
        let error = |greeting, answer| told(greeting, answer, true).0.expect_err("no success");
        let steers = "8001 \u{1b}]0;a title\u{7}\u{202e}txt\n";
        assert_eq!(
            error(READY, steers),
            "`enable \"vip_web\"` is answered with `8001 \\u{1b}]0;a title\\u{7}\\u{202e}txt`"
        );
        assert_eq!(error("\u{9b}2J\n", ""), "it says `\\u{9b}2J`: is this BIRD's socket?");
        let long: &'static str = format!("8001 {}\n", "x".repeat(60_000)).leak();
        for error in [error(READY, long), error(long, ""), error(long[5..].trim_start(), "")] {
            assert!((1_000..1_200).contains(&error.len()) && error.contains("xxx…`"), "{}", error.len());
        }
    }

    #[test]
    fn a_bird_that_is_not_there_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let switched = runtime.block_on(switch(Path::new("/nonexistent/bird.ctl"), "vip_web", true));
        let error = "BIRD on /nonexistent/bird.ctl: there is no such socket: is it running?";
        assert_eq!(switched, Err(error.to_owned()));
    }
}
