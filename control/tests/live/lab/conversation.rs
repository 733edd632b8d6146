//! A long-lived connection of the client: HTTP/1.1, one request after another.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::Lab;
use super::backend::LARGE;
use super::patience::PATIENCE;

/// Number of bytes of the large file that are read or sent at once.
const PIECE: usize = 1 << 20;

/// A connection on which requests follow one another.
#[derive(Debug)]
pub(crate) struct Conversation {
    stream: BufReader<TcpStream>,
}

impl Conversation {
    pub(crate) fn new(lab: &Lab, server: SocketAddr) -> Self {
        let connected = lab.client().inside(|| TcpStream::connect_timeout(&server, PATIENCE));
        Self::by(connected.unwrap_or_else(|error| panic!("no connection to {server}: {error}")))
    }

    /// Conversation by a connection that is there.
    pub(crate) fn by(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        stream.set_nodelay(true).expect("a stream takes the option");
        Self { stream: BufReader::new(stream) }
    }

    /// Opens several connections; returns each with the name of its backend.
    pub(crate) fn several(lab: &Lab, server: SocketAddr, count: usize) -> Vec<(Self, String)> {
        let one = |_| {
            let mut conversation = Self::new(lab, server);
            let who = conversation.who().expect("a new connection is served");
            (conversation, who)
        };
        (0..count).map(one).collect()
    }

    /// Asks for the name of the backend at the other end.
    pub(crate) fn who(&mut self) -> io::Result<String> {
        self.send("GET / HTTP/1.1\r\nHost: lab\r\n\r\n".as_bytes())?;
        self.name()
    }

    /// Requests the large file.
    pub(crate) fn download(mut self) -> Download {
        self.send("GET /large HTTP/1.1\r\nHost: lab\r\n\r\n".as_bytes()).expect("a request fits any buffer");
        let length = self.head().expect("the file is there");
        assert_eq!(length, LARGE.len());
        Download { conversation: self, read: 0 }
    }

    /// Begins a request with the large file as its body.
    pub(crate) fn upload(mut self) -> Upload {
        let head = format!("POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: {}\r\n\r\n", LARGE.len());
        self.send(head.as_bytes()).expect("a request fits any buffer");
        Upload { conversation: self, sent: 0 }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads an answer whose body is a name.
    fn name(&mut self) -> io::Result<String> {
        let mut name = vec![0; self.head()?];
        self.stream.read_exact(&mut name)?;
        Ok(String::from_utf8_lossy(&name).trim().to_owned())
    }

    /// Reads an answer's head; returns the length of the body.
    fn head(&mut self) -> io::Result<usize> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            lines.push(line.to_lowercase());
        }
        assert!(lines.first().is_some_and(|line| line.starts_with("http/1.1 200 ")), "{lines:?}");
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
        Ok(length.and_then(|length| length.trim().parse().ok()).expect("nginx gives the length"))
    }
}

/// Checks that each connection is still served by the backend that it began with.
pub(crate) fn go_on(conversations: &mut [(Conversation, String)], when: &str) {
    for (conversation, who) in conversations {
        let now = conversation.who();
        let now = now.unwrap_or_else(|error| panic!("{when}, a connection to {who} ends: {error}"));
        assert_eq!(&now, who, "{when}");
    }
}

/// The large file on its way to the client, which has read some of it.
#[derive(Debug)]
pub(crate) struct Download {
    conversation: Conversation,
    read: usize,
}

impl Download {
    /// Reads one piece and compares it with the original; returns true if there are more.
    pub(crate) fn go_on(&mut self) -> io::Result<bool> {
        let end = LARGE.len().min(self.read + PIECE);
        let mut piece = vec![0; end - self.read];
        self.conversation.stream.read_exact(&mut piece)?;
        assert!(piece == LARGE[self.read..end], "the file differs between {} and {end} bytes", self.read);
        self.read = end;
        Ok(self.read < LARGE.len())
    }

    /// Reads the rest, and returns the connection.
    pub(crate) fn finish(mut self) -> io::Result<Conversation> {
        while self.go_on()? {}
        Ok(self.conversation)
    }
}

/// The large file on its way from the client, which has sent some of it.
#[derive(Debug)]
pub(crate) struct Upload {
    conversation: Conversation,
    sent: usize,
}

impl Upload {
    /// Sends one piece; returns true if there are more.
    pub(crate) fn go_on(&mut self) -> io::Result<bool> {
        let end = LARGE.len().min(self.sent + PIECE);
        self.conversation.send(&LARGE[self.sent..end])?;
        self.sent = end;
        Ok(self.sent < LARGE.len())
    }

    /// Sends the rest, reads the answer, which comes once the whole body has arrived, and returns the connection.
    pub(crate) fn finish(mut self) -> io::Result<Conversation> {
        while self.go_on()? {}
        self.conversation.name()?;
        Ok(self.conversation)
    }
}
