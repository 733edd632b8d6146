//! Virtual functions, as their PFs know them.

/// Virtual function, as its PF has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vf {
    /// Number of the VF among those of its PF.
    pub number: u32,
    /// Interface of the PF; None where the kernel has none.
    pub interface: Option<String>,
}
