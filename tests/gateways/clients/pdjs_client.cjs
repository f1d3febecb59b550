// What pdjs makes of the answers behind a gateway, printed as one JSON object.

const fs = require("fs");
const { api } = require("@pagerduty/pdjs");

const keys = JSON.parse(process.env.PDKEYS_CREDENTIALS);

// It would wait twenty seconds before it asks again.
const ask = (name, path, rest = {}) =>
  api({ url: process.env.PDKEYS_URL + path, token: keys[name], retryTimeout: 10, ...rest });

const code = (answer) => [answer.status, answer.data.error.code];

async function main() {
  const account = await ask("full", "/users/me");
  const scoped = await ask("scoped", "/incidents", { method: "POST", data: {} });
  const first = await ask("limited", "/incidents");
  const seen = {
    incidents: (await ask("full", "/incidents")).status,
    user: (await ask("user", "/users/me")).status,
    account: [account.status, typeof account.data.error],
    unknown: code(await ask("unknown", "/incidents")),
    read_only: code(await ask("read_only", "/incidents", { method: "POST", data: {} })),
    scoped: [scoped.status, scoped.data.error.required_scopes],
    limited: [first.status, ...code(await ask("limited", "/incidents"))],
  };
  fs.writeSync(1, JSON.stringify(seen));
}

// After a 429 pdjs leaves a timer behind, for which Node would wait half a minute.
main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
