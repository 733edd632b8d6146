//! Look at the appliance over its socket: all that `top` asks for, at one moment.

use guideway::api::admin::client::{Client, ClientError};
use guideway::api::overview::Look;

/// Asks the appliance.
pub(super) async fn at(client: &Client) -> Result<Look, ClientError> {
    let (status, stats, backends, drops) =
        tokio::try_join!(client.status(), client.stats(), client.backend_list(None), client.drops())?;
    Ok(Look { status, stats, backends: backends.backends, drops })
}
