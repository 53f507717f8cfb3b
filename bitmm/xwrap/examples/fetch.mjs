// The server by JavaScript's fetch, in node 18 or later: an order with a key, also when an answer is lost.
//
//     XWRAP_USER=ann XWRAP_PASSWORD=... node fetch.mjs ID        ID is that of a registration on paper
//
// For node, and not for a browser: the server refuses calls from web pages of other origins.
import { randomUUID } from "node:crypto";

const { XWRAP_URL = "http://localhost:8000", XWRAP_USER, XWRAP_PASSWORD } = process.env;
const registration = `${XWRAP_URL}/exchanges/${process.argv[2]}`;
const login = `Basic ${Buffer.from(`${XWRAP_USER}:${XWRAP_PASSWORD}`).toString("base64")}`;

/** Return the document of the answer; a refusal is an Error with the server's words, its `code` and its `status`. */
async function call(path, { form, key } = {}) {
  const answer = await fetch(`${registration}/${path}`, {
    method: form ? "POST" : "GET",
    headers: { Authorization: login, ...(key && { "Idempotency-Key": key }) },
    body: form && new URLSearchParams(form),
    redirect: "error",
    signal: AbortSignal.timeout(30_000),
  });
  const document = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(document.detail), { code: document.code, status: answer.status });
  return document;
}

/** Place an order once, whatever is lost on the way: the same call with the same key is the same order. */
async function buy(form, key = randomUUID()) {
  for (let tries = 1; ; tries++) {
    try {
      return await call("buy", { form, key });
    } catch (error) {
      if (error.status || tries === 3) throw error; // the server refused it; or ask later, by the key
    }
  }
}

// Amounts are text, to the last digit. Do not make numbers of them: 0.1 + 0.2 is 0.30000000000000004.
const order = await buy({ currency: "USD", asset: "BTC", amount: "0.01" });
console.log(order.status, order.filled, "BTC for", order.spent, "USD, fee", order.fee);
console.log((await call(`orders/?key=${order.key}`)).id === order.id, await call("balance"));
try {
  await buy({ currency: "USD", asset: "BTC", amount: "1000" });
} catch (error) {
  console.log(error.code, "-", error.message);
}
