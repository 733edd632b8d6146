//! URLs: how resources of Google Cloud refer to each other.

/// URL of a resource, whole or from some segment on; a name alone is one too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Url<'u>(&'u str);

impl<'u> Url<'u> {
    pub(super) fn new(text: &'u str) -> Self {
        Self(text.trim_end_matches('/'))
    }

    /// Name of the resource: the last segment.
    pub(super) fn name(self) -> &'u str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Region or zone of the resource, or `global`.
    pub(super) fn location(self) -> Option<String> {
        let mut segments = self.0.split('/').skip_while(|at| !["regions", "zones", "global"].contains(at));
        let scope = segments.next()?;
        let location = if scope == "global" { Some(scope) } else { segments.next() };
        location.map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_ends_in_the_name() {
        let zonal =
            "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/networkEndpointGroups/neg";
        for (text, name, location) in [
            (zonal, "neg", Some("us-central1-a")),
            ("projects/p/regions/us-central1/backendServices/web", "web", Some("us-central1")),
            (
                "https://compute.googleapis.com/compute/beta/projects/p/global/healthChecks/hc",
                "hc",
                Some("global"),
            ),
            ("web", "web", None),
            ("", "", None),
            ("regions", "regions", None),
        ] {
            let url = Url::new(text);
            assert_eq!((url.name(), url.location().as_deref()), (name, location), "{text}");
        }
    }
}
