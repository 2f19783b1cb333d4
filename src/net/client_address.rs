//! The client's address, as reported by trusted proxies.

mod forwarded;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// Address of the TCP connection's other end. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// Address of the client, as far as it can be known. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Address of a request that did not arrive over a connection (a router called directly).
    pub const UNKNOWN: ClientAddress = ClientAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// Returns the address by which limits count: an IPv4 address, or the /64 of an IPv6 address,
    /// because a client with one address of a /64 usually has all of them.
    pub fn network(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<ClientAddress, Infallible> {
        Ok(parts
            .extensions
            .get()
            .copied()
            .unwrap_or(ClientAddress::UNKNOWN))
    }
}

/// Networks of the proxies whose `X-Forwarded-For` and `Forwarded` are trusted.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl<'de> Deserialize<'de> for TrustedProxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &String| {
            let single = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| single()).map_err(|_| {
                D::Error::custom(format!(
                    "{text:?} is neither a network such as 10.0.0.0/8 nor an address"
                ))
            })
        };
        let texts = Vec::<String>::deserialize(deserializer)?;
        Ok(Self(texts.iter().map(parse).collect::<Result<_, _>>()?))
    }
}

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks)
    }

    /// Returns whether a network is larger than the largest private ones, 10.0.0.0/8 and fc00::/7.
    pub fn has_wide_network(&self) -> bool {
        self.0.iter().any(|network| match network {
            IpNet::V4(network) => network.prefix_len() < 8,
            IpNet::V6(network) => network.prefix_len() < 7,
        })
    }

    /// Returns the nearest address that is not a trusted proxy's. Each proxy appends the address
    /// that called it, so the headers are read from their end, and only as long as the address that
    /// wrote an entry is trusted: entries that a client wrote itself lie beyond that. An entry that
    /// is not an address ends the search at its writer.
    ///
    /// A proxy that writes one header may pass the other one on as the client forged it. So if the
    /// two name different clients, neither is trusted, and all such clients count under the last
    /// trusted proxy's address.
    pub fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.ip().to_canonical();
        if !self.is_trusted(peer) {
            return ClientAddress(peer);
        }
        let lines = |name: &'static str| {
            headers
                .get_all(name)
                .into_iter()
                .rev()
                .map(|line| line.to_str().unwrap_or_default())
        };
        let x_forwarded_for = self.nearest_untrusted(
            peer,
            lines(X_FORWARDED_FOR).flat_map(|line| line.rsplit(',').map(parse_address)),
        );
        let forwarded =
            lines(FORWARDED).flat_map(|line| forwarded::parse_forwarded(line).into_iter().rev());
        match (x_forwarded_for, self.nearest_untrusted(peer, forwarded)) {
            (said, named) if said == named => ClientAddress(said),
            (said, named) if named == peer => ClientAddress(said),
            (said, named) if said == peer => ClientAddress(named),
            _ => ClientAddress(peer),
        }
    }

    /// Returns the first address from the peer on that is not trusted, or the last one if all are
    /// trusted.
    fn nearest_untrusted(
        &self,
        peer: IpAddr,
        entries: impl Iterator<Item = Option<IpAddr>>,
    ) -> IpAddr {
        let mut client = peer;
        for entry in entries {
            let Some(address) = entry else { return client };
            client = address;
            if !self.is_trusted(client) {
                return client;
            }
        }
        client
    }

    /// Returns whether an address is a trusted proxy's.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses an address, which some proxies write with a port or in brackets.
fn parse_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry
        .parse()
        .ok()
        .or_else(bracketed)
        .or_else(with_port)
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the client's address behind the trusted networks 10.0.0.0/8 and fd00::/8.
    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let headers: Vec<_> = forwarded
            .iter()
            .map(|line| (X_FORWARDED_FOR, *line))
            .collect();
        client_with_headers(peer, &headers)
    }

    fn client_with_headers(peer: &str, forwarded: &[(&'static str, &'static str)]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, line) in forwarded {
            headers.append(*name, line.parse().expect("a header"));
        }
        let peer = SocketAddr::new(peer.parse().expect("an address"), 4000);
        TrustedProxies::new(trusted.to_vec())
            .client_address(peer, &headers)
            .0
            .to_string()
    }

    #[test]
    fn forwarding_headers_of_an_untrusted_peer_are_ignored() {
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
    }

    #[test]
    fn the_forwarding_header_of_a_trusted_proxy_is_used() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            client("::ffff:10.0.0.1", &["203.0.113.9:5123"]),
            "203.0.113.9"
        );
        assert_eq!(client("fd00::1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(client("fd00::1", &["[2001:db8::7]"]), "2001:db8::7");
    }

    #[test]
    fn addresses_prepended_by_the_client_are_ignored() {
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "203.0.113.9,10.2.2.2"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn a_malformed_hop_yields_the_proxy_that_forwarded_it() {
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, rubbish, 10.0.0.2"]),
            "10.0.0.2"
        );
        assert_eq!(client("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_forwarded_header_is_treated_like_x_forwarded_for() {
        let forwarded = |peer, line| client_with_headers(peer, &[(FORWARDED, line)]);
        assert_eq!(forwarded("192.0.2.1", "for=203.0.113.9"), "192.0.2.1");
        assert_eq!(forwarded("10.0.0.1", "for=203.0.113.9"), "203.0.113.9");
        assert_eq!(
            forwarded(
                "10.0.0.1",
                "for=1.1.1.1, for=203.0.113.9;proto=https, for=10.2.2.2"
            ),
            "203.0.113.9"
        );
        assert_eq!(
            forwarded("10.0.0.1", "by=10.0.0.1;FOR=\"[2001:db8::7]:443\""),
            "2001:db8::7"
        );
        assert_eq!(
            forwarded("10.0.0.1", "for=\"[::ffff:203.0.113.9]\""),
            "203.0.113.9"
        );
        assert_eq!(
            forwarded("10.0.0.1", "for=1.1.1.1, for=_hidden, for=10.0.0.2"),
            "10.0.0.2"
        );
        assert_eq!(
            forwarded("10.0.0.1", "for=1.1.1.1, for=unknown"),
            "10.0.0.1"
        );
        assert_eq!(
            forwarded("10.0.0.1", "for=1.1.1.1, proto=https"),
            "10.0.0.1",
            "a hop without an address ends the search"
        );
    }

    #[test]
    fn two_contradicting_forwarding_headers_are_both_ignored() {
        let both = |said, named| {
            client_with_headers("10.0.0.1", &[(X_FORWARDED_FOR, said), (FORWARDED, named)])
        };
        assert_eq!(both("203.0.113.9", "for=203.0.113.9"), "203.0.113.9");
        assert_eq!(
            both("203.0.113.9, 10.0.0.2", "for=203.0.113.9"),
            "203.0.113.9"
        );
        assert_eq!(both("203.0.113.9", "for=198.51.100.1"), "10.0.0.1");
        assert_eq!(
            both("203.0.113.9", "for=_hidden"),
            "203.0.113.9",
            "a header without an address does not count"
        );
        assert_eq!(both("rubbish", "for=203.0.113.9"), "203.0.113.9");
    }

    #[test]
    fn limits_group_ipv6_addresses_by_64_bit_prefix() {
        let network = |text: &str| ClientAddress(text.parse().expect("an address")).network();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::"));
        assert_ne!(network("2001:db8:1:3::"), network("2001:db8:1:2::"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
