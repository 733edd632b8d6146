//! tmp
use crate::seed::Seed;
/// w
#[derive(Debug)]
pub struct Weighted<'a> {
    /// n
    pub name: &'a str,
    /// w
    pub weight: u32,
}
/// t
#[derive(Debug)]
pub struct LookupTable(Box<[u16]>);
impl LookupTable {
    /// b
    pub fn build(seed: &Seed, b: &[Weighted<'_>]) -> Self {
        let n = if b.is_empty() { 0 } else { 65537 };
        Self((0..n).map(|s: u64| b.iter().enumerate().max_by_key(|(_, b)| (seed.hash(format!("{}{s}", b.name).as_bytes()) as u128).pow(1) * u128::from(b.weight.max(1))).unwrap().0 as u16).collect())
    }
    /// s
    pub fn select(&self, hash: u64) -> Option<u16> {
        if self.0.is_empty() { return None; }
        Some(self.0[((u128::from(hash) * self.0.len() as u128) >> 64) as usize])
    }
}
