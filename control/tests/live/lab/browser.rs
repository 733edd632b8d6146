//! A browser in a namespace: Debian's chromium without a screen, driven by WebDriver.
//!
//! The few commands are spoken here: crates for them bring `serde_json`'s `preserve_order` into the tested binary, or second
//! versions of `http` and ICU.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::Lab;
use super::namespace::Namespace;
use super::patience::{PATIENCE, within};
use super::process::Process;

/// Port of chromedriver in its namespace.
const PORT: u16 = 9_515;

/// Chromium with a window; it ends with the value.
#[derive(Debug)]
pub(crate) struct Browser<'l> {
    namespace: &'l Namespace,
    runtime: Runtime,
    /// Path of the session.
    session: String,
    // Dropped last: it ends chromium.
    _chromedriver: Process,
}

impl<'l> Browser<'l> {
    /// Starts chromium in a namespace.
    pub(crate) fn start(lab: &Lab, namespace: &'l Namespace) -> Self {
        let mut command = namespace.command("chromedriver");
        command.arg(format!("--port={PORT}"));
        // Files that chromium writes go with the lab.
        command.env("HOME", lab.directory()).env("TMPDIR", lab.directory());
        let mut chromedriver = Process::start(lab.directory(), "chromedriver", command);
        let up = || match chromedriver.ended() {
            Some(status) => panic!("chromedriver (of chromium-driver) ended ({status}) before it served"),
            None => namespace.inside(connect).ok(),
        };
        within(PATIENCE, up).expect("chromedriver serves");
        let runtime = Builder::new_current_thread().enable_all().build().expect("there is a runtime");
        let mut browser =
            Self { namespace, runtime, session: "/session".to_owned(), _chromedriver: chromedriver };
        let capabilities = json!({"capabilities": {"alwaysMatch": capabilities()}});
        let opened = browser.command(Method::POST, "", &capabilities);
        let session = opened["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {opened}"));
        browser.session = format!("/session/{session}");
        browser
    }

    /// Loads a page.
    pub(crate) fn open(&self, url: &str) {
        self.command(Method::POST, "/url", &json!({"url": url}));
    }

    /// Runs a script's lines in the page; what they return.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command(Method::POST, "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Title of the page.
    pub(crate) fn title(&self) -> String {
        self.text("return document.title")
    }

    /// Text that a script's lines return.
    pub(crate) fn text(&self, script: &str) -> String {
        let value = self.run(script);
        value.as_str().unwrap_or_else(|| panic!("no text: {value}: {script}")).to_owned()
    }

    /// Sets the width of the window, in pixels of a page.
    pub(crate) fn resize(&self, width: u32) {
        let metrics = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500});
        self.tell("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Has the page in the light or in the dark.
    pub(crate) fn color_scheme(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.tell("Emulation.setEmulatedMedia", features);
    }

    /// Lets pages loaded from now on run scripts, or not.
    pub(crate) fn allow_scripts(&self, allowed: bool) {
        self.tell("Emulation.setScriptExecutionDisabled", json!({"value": !allowed}));
    }

    /// Presses the key that moves the focus on.
    pub(crate) fn press_tab(&self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            self.tell("Input.dispatchKeyEvent", key);
        }
    }

    /// Takes what the page and the browser have said on the console since the last time.
    pub(crate) fn console(&self) -> Vec<String> {
        let log = self.command(Method::POST, "/se/log", &json!({"type": "browser"}));
        log.as_array().expect("a log is a list").iter().map(Value::to_string).collect()
    }

    /// Tells chromium something by the protocol of its developers' tools.
    fn tell(&self, command: &str, parameters: Value) {
        self.command(Method::POST, "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
    }

    /// Gives a command to the session; its value.
    fn command(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.try_command(method, path, body);
        let value = answer.unwrap_or_else(|error| panic!("chromedriver, {path}: {error}"));
        assert!(value.get("error").is_none(), "chromedriver, {path} {body}: {value}");
        value
    }

    fn try_command(&self, method: Method, path: &str, body: &Value) -> io::Result<Value> {
        let stream = self.namespace.inside(connect)?;
        stream.set_nonblocking(true)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header(header::HOST, address().to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(io::Error::other)?;
        self.runtime.block_on(async {
            let asked = async {
                let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
                let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                let answer = sender.send_request(request).await.map_err(io::Error::other)?;
                let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
                let mut answer: Value = serde_json::from_slice(&body)?;
                Ok(answer["value"].take())
            };
            // Chromium begins within the first of them.
            timeout(PATIENCE * 2, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // A chromium that does not end in time is left to chromedriver.
        let _ = self.try_command(Method::DELETE, "", &json!({}));
    }
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))
}

fn connect() -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address(), Duration::from_secs(5))
}

/// Chromium without a screen, as root, which keeps what is said on the console.
fn capabilities() -> Value {
    let arguments =
        ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"];
    json!({
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    })
}
