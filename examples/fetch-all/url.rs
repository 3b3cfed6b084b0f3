//! URLs of the scheme `http`, and the references that redirections consist of.

use std::fmt;

/// An `http://` URL without its fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path with the query, which begins with a slash.
    pub(crate) target: String,
}

impl Url {
    /// Parses a URL. The error is a line for the user.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("no URL: it has no http://")?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(format!("only http:// is supported, not {scheme}://"));
        }
        if let Some(odd) = rest.chars().find(|odd| !('!'..='~').contains(odd)) {
            return Err(format!("no URL: {odd:?} must be encoded"));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("user names in URLs are not supported".into());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("no URL: a bracket is missing")?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("")),
            },
        };
        let port = match port {
            Some("") => Some(80),
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok(),
            _ => None,
        };
        let port = port.ok_or(format!("no URL: there is no port in {authority:?}"))?;
        if host.is_empty() {
            return Err("no URL: it has no host".into());
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { host: host.to_owned(), port, target: format!("{slash}{target}") })
    }

    /// Returns the host as it stands in a URL, with the port if that is not 80.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port {
            80 => host,
            port => format!("{host}:{port}"),
        }
    }

    /// Returns the URL that a reference in a response to this URL means.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, String> {
        let reference = reference.split('#').next().unwrap_or_default();
        let has_scheme =
            reference.find(':').is_some_and(|colon| !reference[..colon].contains(['/', '?']));
        if has_scheme {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("http:{reference}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let target = match reference.chars().next() {
            None => self.target.clone(),
            Some('/') => reference.to_owned(),
            Some('?') => format!("{path}{reference}"),
            Some(_) => {
                let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
                format!("{folder}{reference}")
            }
        };
        let (path, query) = match target.find('?') {
            Some(query) => target.split_at(query),
            None => (target.as_str(), ""),
        };
        Self::parse(&format!("http://{}{}{query}", self.authority(), without_dots(path)))
    }
}

/// Resolves `.` and `..` in a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let is_last = rest.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                // `/a/.` is the folder `/a/`.
                if is_last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.target)
    }
}
