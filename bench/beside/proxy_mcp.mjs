// proxy-mcp's way of keeping and asking a session, as its src/session-store.ts has it, written anew: records and an
// index as lines of JSON; each question reads the whole index, parses every line, filters and sorts.
//
//   node proxy_mcp.mjs make FLAT FOLDER
//   node proxy_mcp.mjs ask FOLDER CALLS QUESTIONS

import { createReadStream, createWriteStream, promises as fs } from "node:fs";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";

async function make(flat, folder) {
  const records = createWriteStream(path.join(folder, "records.ndjson"));
  const index = createWriteStream(path.join(folder, "index.ndjson"));
  const base64 = (text) => (text ? Buffer.from(text).toString("base64") : undefined);
  const headers = (pairs) => Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), value]));
  let offset = 0;
  for await (const line of createInterface({ input: createReadStream(flat), crlfDelay: Infinity })) {
    const one = JSON.parse(line);
    const exchange = {
      id: `x_${one.seq}`,
      timestamp: one.timestamp,
      request: {
        method: one.method, url: one.url, hostname: one.host, path: one.path, headers: headers(one.requestHeaders),
        bodyPreview: one.requestBody.slice(0, 4096), bodySize: Buffer.byteLength(one.requestBody),
      },
      duration: one.duration ?? undefined,
    };
    if (one.status !== null) {
      exchange.response = {
        statusCode: one.status, statusMessage: "", headers: headers(one.responseHeaders),
        bodyPreview: one.responseBody.slice(0, 4096), bodySize: Buffer.byteLength(one.responseBody),
      };
    }
    const record = {
      seq: one.seq, sessionId: "s", exchange,
      requestBodyBase64: base64(one.requestBody), responseBodyBase64: base64(one.responseBody),
    };
    const text = `${JSON.stringify(record)}\n`;
    const bytes = Buffer.byteLength(text);
    const entry = {
      seq: one.seq, exchangeId: exchange.id, timestamp: one.timestamp, method: one.method, hostname: one.host,
      path: one.path, url: one.url, statusCode: one.status, duration: one.duration,
      requestBodySize: exchange.request.bodySize, responseBodySize: exchange.response?.bodySize ?? null,
      hasResponse: !!exchange.response, hasFullRequestBody: !!record.requestBodyBase64,
      hasFullResponseBody: !!record.responseBodyBase64, matchedRuleId: null, ja3: null, ja4: null, ja3s: null,
      responseContentType: exchange.response?.headers["content-type"]?.split(";")[0].trim().toLowerCase() ?? null,
      recordOffset: offset, recordLineBytes: bytes,
    };
    offset += bytes;
    if (!records.write(text)) await once(records, "drain");
    if (!index.write(`${JSON.stringify(entry)}\n`)) await once(index, "drain");
  }
  await Promise.all([records, index].map((stream) => new Promise((done) => stream.end(done))));
}

async function readIndex(folder) {
  const raw = await fs.readFile(path.join(folder, "index.ndjson"), "utf8");
  const out = [];
  for (const line of raw.split("\n").filter(Boolean)) out.push(JSON.parse(line));
  return out;
}

async function record(handle, entry) {
  const buffer = Buffer.alloc(entry.recordLineBytes);
  await handle.read(buffer, 0, entry.recordLineBytes, entry.recordOffset);
  return JSON.parse(buffer.toString("utf8"));
}

const asks = {
  async page(folder, { status, url }) {
    const found = (await readIndex(folder)).filter((e) => {
      if (status && (e.statusCode === null || Math.floor(e.statusCode / 100) !== status)) return false;
      return !url || e.url.toLowerCase().includes(url);
    });
    found.sort((a, b) => b.timestamp - a.timestamp || b.seq - a.seq);
    return found.slice(0, 20).map((e) => e.seq);
  },
  async one(folder, { seq }) {
    const entry = (await readIndex(folder)).find((e) => e.seq === seq);
    const handle = await fs.open(path.join(folder, "records.ndjson"), "r");
    const found = await record(handle, entry);
    await handle.close();
    return [found.seq];
  },
  async text(folder, { text }) {
    // Its own limit of 5,000 records is left out, so that the answer is the whole one.
    const handle = await fs.open(path.join(folder, "records.ndjson"), "r");
    const seqs = [];
    for (const entry of await readIndex(folder)) {
      const found = await record(handle, entry);
      const bodies = [found.responseBodyBase64, found.requestBodyBase64].filter(Boolean);
      if (bodies.some((body) => Buffer.from(body, "base64").toString("utf8").toLowerCase().includes(text))) {
        seqs.push(found.seq);
        if (seqs.length === 20) break;
      }
    }
    await handle.close();
    return seqs;
  },
  async overview(folder) {
    const hosts = {}, methods = {}, statuses = {};
    for (const e of await readIndex(folder)) {
      methods[e.method] = (methods[e.method] || 0) + 1;
      statuses[e.statusCode] = (statuses[e.statusCode] || 0) + 1;
      hosts[e.hostname] = (hosts[e.hostname] || 0) + 1;
    }
    return Object.entries(hosts).sort(([a], [b]) => (a < b ? -1 : 1));
  },
  async timeline(folder) {
    const buckets = new Map();
    for (const e of await readIndex(folder)) {
      const begin = Math.floor(e.timestamp / 60000) * 60000;
      buckets.set(begin, (buckets.get(begin) || 0) + 1);
    }
    return [...buckets].sort(([a], [b]) => a - b);
  },
  async endpoints(folder) {
    const found = new Map();
    for (const e of await readIndex(folder)) {
      const key = `${e.method} ${e.hostname}${e.path.split("?")[0].replace(/\/\d+(?=\/|$)/g, "/{id}")}`;
      const one = found.get(key) || [0, 0];
      one[0] += 1;
      one[1] += e.statusCode !== null && e.statusCode >= 400 ? 1 : 0;
      found.set(key, one);
    }
    return [...found].sort((a, b) => b[1][0] - a[1][0]).slice(0, 10).map(([, [count]]) => count);
  },
};

const [what, ...rest] = process.argv.slice(2);
if (what === "make") {
  await make(...rest);
} else {
  const [folder, calls, questions] = rest;
  const found = {};
  for (const { key, ask, ...wanted } of JSON.parse(questions)) {
    const times = [];
    let answer;
    for (let call = 0; call < Number(calls); call++) {
      const begun = process.hrtime.bigint();
      answer = await asks[ask](folder, wanted);
      times.push(Number(process.hrtime.bigint() - begun) / 1e6);
    }
    found[key] = { times, answer };
  }
  console.log(JSON.stringify(found));
}
