//! tmp
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
/// s
pub struct Seed(pub [u8; 16]);
impl Seed {
    /// h
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        siphasher::sip::SipHasher13::new_with_key(&self.0).hash(bytes)
    }
}
