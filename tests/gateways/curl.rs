//! Requests as `curl` makes them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::api::Reached;
use crate::installed;

/// A request that is not yet made.
#[must_use]
pub(crate) struct Request {
    url: String,
    options: Vec<String>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self { url: url.into(), options: Vec::new(), body: None }
    }

    pub(crate) fn method(self, method: &str) -> Self {
        // To HEAD there is no body, and curl would wait for one.
        if method == "HEAD" { self.option("--head", None) } else { self.option("--request", Some(method)) }
    }

    /// Another header, whatever others of its name there are.
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.option("--header", Some(&format!("{name}: {value}")))
    }

    /// The key, as PagerDuty has it.
    pub(crate) fn key(self, secret: &str) -> Self {
        self.header("Authorization", &format!("Token token={secret}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Whoever the server is.
    pub(crate) fn insecure(self) -> Self {
        self.option("--insecure", None)
    }

    fn option(mut self, option: &str, value: Option<&str>) -> Self {
        self.options.push(option.to_owned());
        self.options.extend(value.map(str::to_owned));
        self
    }

    /// Makes the request. `None` if no answer came.
    pub(crate) fn try_send(self) -> Option<Answer> {
        let mut command = Command::new(installed::system("curl"));
        command
            .args(["--silent", "--show-error", "--include", "--path-as-is", "--globoff", "--max-time", "20"])
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if self.body.is_some() {
            command.args(["--data-binary", "@-"]);
        }
        let mut child = command.arg(&self.url).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // A server that has said no need not read to the end.
        let _ = input.write_all(&self.body.unwrap_or_default());
        drop(input);
        let output = child.wait_with_output().unwrap();
        (!output.stdout.is_empty()).then(|| Answer::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    pub(crate) fn send(self) -> Answer {
        let url = self.url.clone();
        self.try_send().unwrap_or_else(|| panic!("no answer to {url}"))
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if (100..200).contains(&status) {
            return Self::parse(body);
        }
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The request as it reached the API.
    pub(crate) fn reached(&self) -> Reached {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not from the API: {self:?}"))
    }
}
