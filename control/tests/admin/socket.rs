//! The file of the socket: who may connect, what becomes of one that is there already.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use guideway::api::admin::ListenError;
use guideway::api::admin::server::Server;
use tokio::sync::mpsc;

use crate::supervisor::{Appliance, Directory, block_on};

/// Binds, and serves nobody.
fn bind(path: &Path) -> Result<(), ListenError> {
    block_on(async { Server::bind(path).await.map(drop) })
}

#[test]
fn owner_and_group_may_connect_and_the_directory_is_made() {
    let directory = Directory::new();
    let socket = directory.path().join("run/guideway/admin.sock");
    block_on(async {
        let _server = Server::bind(&socket).await.unwrap();
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let mode = std::fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o755, 0);
    });
}

#[test]
fn a_server_that_ends_takes_its_socket_with_it_and_no_other() {
    let directory = Directory::new();
    let socket = directory.path().join("admin.sock");
    for replaced in [false, true] {
        block_on(async {
            let server = Server::bind(&socket).await.unwrap();
            assert!(socket.exists());
            if replaced {
                std::fs::rename(&socket, directory.path().join("moved")).unwrap();
                drop(UnixListener::bind(&socket).unwrap());
            }
            let (requests, _asked) = mpsc::channel(1);
            server.serve(requests, async {}).await;
            assert_eq!(socket.exists(), replaced, "what another has put there is left alone");
        });
    }
}

#[test]
fn a_socket_that_nobody_answers_on_makes_way() {
    let directory = Directory::new();
    let socket = directory.path().join("admin.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "the file of a process that is gone");
    bind(&socket).unwrap();
}

#[test]
fn a_socket_that_another_appliance_answers_on_is_left_to_it() {
    let appliance = Appliance::start();
    let error = bind(&appliance.socket()).unwrap_err();
    assert!(matches!(error, ListenError::Answered(_)), "{error}");
    assert!(error.to_string().contains("stop it, or set another [admin] socket"), "{error}");
    block_on(appliance.client().status()).expect("the other goes on");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = Directory::new();
    let file = directory.path().join("admin.sock");
    std::fs::write(&file, "mine").unwrap();
    let error = bind(&file).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_socket_that_cannot_be_made_is_told_with_its_remedy() {
    let directory = Directory::new();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = bind(&file.join("admin.sock")).unwrap_err();
    assert!(matches!(error, ListenError::Directory(..)), "{error}");
    let error = bind(&directory.path().join("a".repeat(200))).unwrap_err();
    assert!(matches!(error, ListenError::Socket(..)), "{error}");
    assert!(error.to_string().contains("set another [admin] socket"), "{error}");
}
