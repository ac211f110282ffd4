// mockttp as a proxy that passes everything through: HTTP and intercepted HTTPS, upstream certificates verified.
// Usage: NODE_EXTRA_CA_CERTS=UPSTREAM_CA node mockttp.mjs PORT CA_OUT. Runs until killed.
//
// Nothing is kept and nothing subscribes to its events, so this is the engine at its fastest: what a recorder built on
// it would add comes on top. The origin's CA comes through the environment because mockttp's own option for it builds
// the whole list of roots anew for each connection.
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import { generateCACertificate, getLocal } from 'mockttp';

const [port, caOut] = process.argv.slice(2);

// mockttp has no option for the address; by itself it would listen on every interface.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
    return typeof first === 'number'
        ? listen.call(this, first, '127.0.0.1', ...rest)
        : listen.call(this, first, ...rest);
};

const https = await generateCACertificate({ subject: { commonName: 'wiretape bench: mockttp' } });
const server = getLocal({ https, recordTraffic: false, suggestChanges: false });
await server.forAnyRequest().thenPassThrough();
await server.start(Number(port));
await writeFile(caOut, https.cert);
