//! The cores of the control thread and of the workers.

use guideway_model::config::Engine;

/// The cores of the appliance's threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cores {
    /// Core of the control thread.
    pub(super) control: usize,
    /// Cores of the workers, by their numbers.
    pub(super) workers: Vec<usize>,
}

impl Cores {
    /// The cores that the configuration names, or a choice among those that this process may use.
    pub(super) fn choose(engine: &Engine) -> Result<Self, String> {
        let allowed = core_affinity::get_core_ids().unwrap_or_default();
        Self::among(engine, &allowed.iter().map(|core| core.id).collect::<Vec<_>>())
    }

    fn among(engine: &Engine, allowed: &[usize]) -> Result<Self, String> {
        let lowest = allowed.iter().min().copied();
        let unused = allowed.iter().filter(|core| !engine.worker_cores.contains(core)).min().copied();
        let control = engine.control_core.or(unused).or(lowest).ok_or("this process may run on no core")?;
        if !engine.worker_cores.is_empty() {
            return Ok(Self { control, workers: engine.worker_cores.clone() });
        }
        let mut workers: Vec<usize> = allowed.iter().copied().filter(|core| *core != control).collect();
        workers.sort_unstable();
        if workers.is_empty() {
            return Err(format!(
                "this process may run on core {control} alone, where the control thread is: give it another core, or \
                 write `worker_cores = [{control}]` for a test"
            ));
        }
        Ok(Self { control, workers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(
        worker_cores: &[usize],
        control_core: Option<usize>,
        allowed: &[usize],
    ) -> Result<Cores, String> {
        let engine = Engine {
            worker_cores: worker_cores.to_vec(),
            control_core,
            no_huge: false,
            memory_mib: 512,
            mbufs: None,
        };
        Cores::among(&engine, allowed)
    }

    #[test]
    fn what_is_configured_holds_and_the_rest_is_chosen_from_what_is_free() {
        let cores = |control, workers: &[usize]| Ok(Cores { control, workers: workers.to_vec() });
        assert_eq!(choose(&[], None, &[0, 1, 2]), cores(0, &[1, 2]));
        assert_eq!(choose(&[], Some(2), &[0, 1, 2]), cores(2, &[0, 1]));
        assert_eq!(choose(&[0], None, &[0, 1]), cores(1, &[0]));
        assert_eq!(choose(&[0], None, &[0]), cores(0, &[0]));
        assert_eq!(choose(&[5], Some(4), &[0]), cores(4, &[5]), "what is offline is told when it is used");
        assert!(choose(&[], None, &[3]).unwrap_err().contains("worker_cores = [3]"));
        assert!(choose(&[], None, &[]).is_err());
    }
}
