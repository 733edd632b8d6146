//! Cause of a failure among the messages that DPDK has logged: the one that names the device, if it is a device's.
//!
//! EAL logs as it goes, and goes on: about huge pages of a size that nobody has reserved, about each device, and at the end
//! that a device cannot be used. The first message of all is seldom the one that an operator needs.

/// Words of messages that follow from another failure and do not tell it.
const ECHOES: [&str; 5] = [
    "cannot be used",
    "Failed to open VFIO group",
    "not managed by VFIO driver",
    "Driver cannot attach the device",
    "Failed to attach device",
];

/// Words of messages that EAL logs on machines where nothing is wrong.
const HARMLESS: [&str; 3] = ["No free ", "No available ", "Probe PCI driver"];

/// Message that tells why a device was not taken, if there is one; `names` are the words that mean the device, such as its
/// address and its IOMMU group.
pub(super) fn cause<'m>(messages: &'m [String], names: &[String]) -> Option<&'m str> {
    let is_echo = |message: &String| contains_any(message, &ECHOES);
    let is_about = |message: &String| names.iter().any(|name| has_word(message, name));
    let own = messages.iter().find(|message| is_about(message) && !is_echo(message));
    // A driver that does not name the device has logged before EAL gives it up.
    let before_echo = || {
        let end = messages.iter().position(|message| is_about(message) && is_echo(message))?;
        messages[..end].iter().rev().find(|message| !is_echo(message) && !contains_any(message, &HARMLESS))
    };
    own.or_else(before_echo).map(String::as_str).or_else(|| first(messages))
}

/// First message that may tell of a failure; the first of all if every one is harmless.
pub(super) fn first(messages: &[String]) -> Option<&str> {
    let telling = messages.iter().find(|message| !contains_any(message, &HARMLESS));
    telling.or(messages.first()).map(String::as_str)
}

fn contains_any(message: &str, words: &[&str]) -> bool {
    words.iter().any(|word| message.contains(word))
}

/// True if `message` has `word`, and not as the beginning of a longer number.
fn has_word(message: &str, word: &str) -> bool {
    message.match_indices(word).any(|(start, word)| {
        !message[start + word.len()..].starts_with(|next: char| next.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(log: &str) -> Vec<String> {
        log.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn names(address: &str, group: u32) -> Vec<String> {
        vec![address.to_owned(), format!("/dev/vfio/{group}"), format!("VFIO group {group}")]
    }

    /// Log of DPDK 22.11 for a VF that another process holds, on a machine with huge pages of 2 MiB alone.
    const BUSY: &str = "EAL: No free 1048576 kB hugepages reported on node 0
        EAL: Cannot open /dev/vfio/16: Device or resource busy
        EAL: Failed to open VFIO group 16
        EAL: Requested device 0000:01:10.2 cannot be used";

    #[test]
    fn a_device_in_another_process_is_told_by_its_group() {
        let log = messages(BUSY);
        let told = cause(&log, &names("0000:01:10.2", 16));
        assert_eq!(told, Some("EAL: Cannot open /dev/vfio/16: Device or resource busy"));
    }

    #[test]
    fn each_device_has_its_own_cause() {
        let log = messages(
            "EAL: No available 1048576 kB hugepages reported
             EAL: 0000:01:10.0 VFIO group is not viable! Not all devices in IOMMU group bound to VFIO or unbound
             EAL: Requested device 0000:01:10.0 cannot be used
             EAL: Cannot open /dev/vfio/16: Device or resource busy
             EAL: Failed to open VFIO group 16
             EAL: Requested device 0000:01:10.2 cannot be used
             igbvf_dev_init(): Init HW failed
             EAL: Requested device 0000:01:10.4 cannot be used",
        );
        let told = |address, group| cause(&log, &names(address, group)).map(|told| &told[..24]);
        assert_eq!(told("0000:01:10.0", 14), Some("EAL: 0000:01:10.0 VFIO g"));
        assert_eq!(told("0000:01:10.2", 16), Some("EAL: Cannot open /dev/vf"));
        assert_eq!(told("0000:01:10.4", 18), Some("igbvf_dev_init(): Init H"));
        assert_eq!(told("0000:01:10.6", 1), Some("EAL: 0000:01:10.0 VFIO g"), "group 1 is not group 16");
    }

    #[test]
    fn what_is_harmless_is_told_where_there_is_nothing_else() {
        assert_eq!(first(&messages(BUSY)), Some("EAL: Cannot open /dev/vfio/16: Device or resource busy"));
        let harmless = messages("EAL: No free 2048 kB hugepages reported on node 0");
        assert_eq!(first(&harmless), Some("EAL: No free 2048 kB hugepages reported on node 0"));
        assert_eq!(cause(&[], &names("0000:01:10.0", 1)), None);
    }
}
