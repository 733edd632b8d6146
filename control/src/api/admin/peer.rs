//! Peers of the admin socket: who has connected, and what each may do.

use std::fs;
use std::path::Path;

use rustix::process::{getegid, geteuid};
use tokio::net::UnixStream;

use crate::api::http_server::Standing;

/// Number of a user that no process has.
const NOBODY: u32 = u32::MAX - 1;

/// Process at the other end of a connection, as the kernel knew it when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Number of the user.
    pub(crate) uid: u32,
    /// Number of the user's group.
    gid: u32,
    /// Number of the process; none in a namespace that is not seen from here.
    pub(crate) pid: Option<i32>,
    /// Numbers of further groups.
    groups: Vec<u32>,
}

/// Rights of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// The peer may do nothing.
    Nothing,
    /// The peer may look, and change nothing.
    Read,
    /// The peer may do everything.
    Write,
}

/// Rules that tell the rights of a peer.
#[derive(Clone, Debug)]
pub struct AccessRules {
    own_uid: u32,
    own_gid: u32,
    write_group: Option<u32>,
    read_group: Option<u32>,
}

impl Peer {
    /// Peer of a connection; none where the kernel does not tell.
    pub(super) fn of(stream: &UnixStream) -> Option<Self> {
        let credentials = stream.peer_cred().ok()?;
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        let groups = pid.map_or_else(Vec::new, |pid| further_groups(Path::new("/proc"), pid, uid));
        Some(Self { uid, gid, pid, groups })
    }

    /// Peer of a group, and no user of the appliance's.
    pub(super) const fn of_group(group: u32) -> Self {
        Self { uid: NOBODY, gid: group, pid: None, groups: Vec::new() }
    }

    fn is_of(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

impl AccessRules {
    /// Rules by which members of one group may change the appliance, and those of another may look; the appliance's own group
    /// stands in for one that is not named. Without any, whoever may connect may do everything.
    pub fn new(write_group: Option<u32>, read_group: Option<u32>) -> Self {
        let (own_uid, own_gid) = (geteuid().as_raw(), getegid().as_raw());
        Self { own_uid, own_gid, write_group, read_group }
    }

    /// True if peers have different rights.
    pub(super) fn are_restricted(&self) -> bool {
        self.write_group.is_some() || self.read_group.is_some()
    }

    /// Rights of a peer.
    pub(crate) fn access(&self, peer: Option<&Peer>) -> Access {
        if !self.are_restricted() {
            return Access::Write;
        }
        let Some(peer) = peer else { return Access::Nothing };
        if self.is_owner(peer) || peer.is_of(self.write_group.unwrap_or(self.own_gid)) {
            Access::Write
        } else if peer.is_of(self.read_group.unwrap_or(self.own_gid)) {
            Access::Read
        } else {
            Access::Nothing
        }
    }

    /// Standing of a peer among those who connect: whoever has a right has slots that others cannot take.
    pub(super) fn standing(&self, peer: Option<&Peer>) -> Standing {
        let access = self.access(peer);
        match peer {
            _ if access == Access::Nothing => Standing::Stranger,
            Some(peer) if self.is_owner(peer) => Standing::Owner,
            _ if access == Access::Read => Standing::Reader,
            // Without rules the socket's mode is for the own group; an access list of the file system may let in others.
            Some(peer) if peer.is_of(self.write_group.unwrap_or(self.own_gid)) => Standing::Writer,
            _ => Standing::Anybody,
        }
    }

    fn is_owner(&self, peer: &Peer) -> bool {
        peer.uid == 0 || peer.uid == self.own_uid
    }
}

/// Further groups of a process, if it is still of the user that has connected: its number may be another process's by now.
fn further_groups(proc: &Path, pid: i32, uid: u32) -> Vec<u32> {
    let status = fs::read_to_string(proc.join(pid.to_string()).join("status")).unwrap_or_default();
    let numbers = |key: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    // Real, effective, saved and of the file system.
    let is_same = numbers("Uid:").get(1) == Some(&uid);
    if is_same { numbers("Groups:") } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(write_group: Option<u32>, read_group: Option<u32>) -> AccessRules {
        AccessRules { own_uid: 500, own_gid: 500, write_group, read_group }
    }

    fn access(rules: &AccessRules, uid: u32, gid: u32, groups: &[u32]) -> Access {
        rules.access(Some(&Peer { uid, gid, pid: Some(1), groups: groups.into() }))
    }

    #[test]
    fn without_groups_whoever_connects_may_do_everything() {
        let rules = rules(None, None);
        assert_eq!((access(&rules, 1_000, 1_000, &[]), rules.access(None)), (Access::Write, Access::Write));
    }

    #[test]
    fn groups_tell_who_may_change_and_who_may_look() {
        for (write_group, read_group, own_group) in [
            (Some(7), Some(8), Access::Nothing),
            (Some(7), None, Access::Read),
            (None, Some(8), Access::Write),
        ] {
            let rules = rules(write_group, read_group);
            let by_group =
                |group: u32| [access(&rules, 1_000, group, &[]), access(&rules, 1_000, 9, &[1, group])];
            assert_eq!(by_group(500), [own_group; 2]);
            assert_eq!(by_group(9), [Access::Nothing; 2]);
            let write = if write_group.is_some() { Access::Write } else { Access::Nothing };
            let read = if read_group.is_some() { Access::Read } else { Access::Nothing };
            assert_eq!((by_group(7), by_group(8)), ([write; 2], [read; 2]));
            assert_eq!(
                (access(&rules, 0, 9, &[]), access(&rules, 500, 9, &[])),
                (Access::Write, Access::Write)
            );
            assert_eq!(rules.access(None), Access::Nothing);
        }
    }

    #[test]
    fn members_of_a_group_have_slots_of_their_own() {
        use Standing::{Anybody, Owner, Reader, Stranger, Writer};
        // Root, the own user, the own group, the write group, the read group, and somebody else.
        let peers = [(0, 9), (500, 9), (1_000, 500), (1_000, 7), (1_000, 8), (1_000, 9)];
        for (write_group, read_group, expected) in [
            (None, None, [Owner, Owner, Writer, Anybody, Anybody, Anybody]),
            (Some(7), Some(8), [Owner, Owner, Stranger, Writer, Reader, Stranger]),
            (Some(7), None, [Owner, Owner, Reader, Writer, Stranger, Stranger]),
            (None, Some(8), [Owner, Owner, Writer, Stranger, Reader, Stranger]),
        ] {
            let rules = rules(write_group, read_group);
            let standing = |(uid, gid)| {
                let by_further = Peer { uid, gid: 9, pid: Some(1), groups: vec![gid] };
                let by_first = Peer { gid, groups: Vec::new(), ..by_further.clone() };
                let standing = rules.standing(Some(&by_first));
                assert_eq!(rules.standing(Some(&by_further)), standing);
                standing
            };
            assert_eq!(peers.map(standing), expected, "{write_group:?} {read_group:?}");
            let unknown = if rules.are_restricted() { Stranger } else { Anybody };
            assert_eq!(rules.standing(None), unknown);
        }
    }

    #[test]
    fn groups_of_a_process_count_while_it_is_of_the_same_user() {
        let proc = tempfile::tempdir().expect("a folder can be made");
        fs::create_dir(proc.path().join("42")).expect("a folder can be made");
        let status = "Name:\tcat\nUid:\t0\t1000\t0\t0\nGid:\t1 1 1 1\nGroups:\t4 24 1000 \nNStgid:\t42\n";
        fs::write(proc.path().join("42/status"), status).expect("a file can be written");
        assert_eq!(further_groups(proc.path(), 42, 1_000), [4, 24, 1_000]);
        assert!(further_groups(proc.path(), 42, 0).is_empty(), "another user's");
        assert!(further_groups(proc.path(), 43, 1_000).is_empty(), "it has ended");
    }
}
