// Passkeys and key components in the browser. Everything secret happens here
// and in the authenticator: the site gets what it can check and what it cannot
// open.
//
// A module without dependencies and without state. Byte strings are
// Uint8Array; in JSON they are base64url without padding, as in package
// passkey. Every function throws a Failure whose code is one of codes.

// The codes of a Failure.
export const codes = Object.freeze([
  "unsupported", // the browser has no passkeys here, or lacks a curve
  "cancelled", //   the person declined, was not verified, or took too long
  "registered", //  this authenticator is registered already
  "no-prf", //      the authenticator cannot seal key components
  "wrong-passkey", // the sealing pair is of another passkey, or was changed
  "sealed", //      not given for this key, content and label, or changed
  "input", //       an argument has the wrong form
  "failed", //      anything else
]);

// A Failure says by its code what went wrong; the page shows the code's text.
export class Failure extends Error {
  constructor(code, cause) {
    super(code, { cause });
    this.name = "Failure";
    this.code = code;
  }
}

const sealingSalt = "ankan component sealing v1"; // passkey.SealingSalt
const sealingInfo = "ankan seal wrap 1";
const givenInfo = "ankan given 2";
const givenVersion = 2;
const pointLength = 133; // of P-521, uncompressed (SEC 1, 2.3.3)
const nonceLength = 12;
const timeout = 120000; // milliseconds that a person has

const p521 = { name: "ECDH", namedCurve: "P-521" };
const utf8 = (text) => new TextEncoder().encode(text);

// encode is base64url without padding.
export function encode(bytes) {
  let binary = "";
  for (const b of new Uint8Array(bytes)) binary += String.fromCharCode(b);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// decode is strict: it takes what encode makes and nothing else.
export function decode(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  } catch (cause) {
    throw new Failure("input", cause);
  }
  if (encode(bytes) !== text) throw new Failure("input");
  return bytes;
}

// wipe overwrites bytes.
export function wipe(bytes) {
  new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength).fill(0);
}

// register asks an authenticator for a new passkey. The options are those of
// attest.Party.Begin, parsed; the result is a passkey.Registration. If the
// options ask for PRF, the result has a sealing pair whose private half only
// this passkey opens; an authenticator that gives its PRF only later is asked
// a second time.
export async function register(options) {
  available();
  let publicKey;
  try {
    publicKey = {
      ...options,
      challenge: decode(options.challenge),
      user: { ...options.user, id: decode(options.user.id) },
      excludeCredentials: (options.excludeCredentials ?? []).map((c) => ({ ...c, id: decode(c.id) })),
      extensions: { ...options.extensions },
    };
    if (options.extensions?.prf) publicKey.extensions.prf = { eval: { first: utf8(sealingSalt) } };
  } catch (cause) {
    throw new Failure("input", cause);
  }
  const made = await ask(() => navigator.credentials.create({ publicKey }));
  const id = encode(made.rawId);
  const result = {
    credential_id: id,
    attestation_object: encode(made.response.attestationObject),
    client_data_json: encode(made.response.clientDataJSON),
  };
  if (publicKey.extensions.prf) {
    const prf = made.getClientExtensionResults().prf;
    if (!prf?.enabled && !prf?.results?.first) throw new Failure("no-prf");
    result.seal = await makeSealing(prf.results?.first ?? (await evaluate(id, options.rp.id)));
  }
  return result;
}

// sign has a passkey sign a challenge of 32 bytes, such as an act's digest. The
// result is a passkey.Assertion.
export async function sign(challenge, credentialId, rpId) {
  if (!(challenge instanceof Uint8Array) || challenge.length !== 32) throw new Failure("input");
  const { response } = await get(challenge, credentialId, rpId, {});
  return {
    credential_id: credentialId,
    authenticator_data: encode(response.authenticatorData),
    client_data_json: encode(response.clientDataJSON),
    signature: encode(response.signature),
  };
}

// unlock opens the private half of a passkey.Sealing with its passkey. The key
// cannot be exported.
export async function unlock(credentialId, rpId, seal) {
  const spki = decode(seal?.public_key);
  const wrapped = decode(seal?.wrapped);
  const kek = await wrappingKey(await evaluate(credentialId, rpId), "unwrapKey");
  try {
    return await crypto.subtle.unwrapKey(
      "pkcs8",
      wrapped.subarray(nonceLength),
      kek,
      { name: "AES-GCM", iv: wrapped.subarray(0, nonceLength), additionalData: spki },
      p521,
      false,
      ["deriveKey"],
    );
  } catch (cause) {
    throw new Failure("wrong-passkey", cause);
  }
}

// give wraps a secret for the owner of a P-521 key, as hsm.Give does: an
// ephemeral key, HKDF-SHA-512, AES key wrap (RFC 3394). Content, label and both
// public keys are bound into it. The secret has at least 16 bytes, a multiple
// of 8; the caller wipes it.
export async function give(spki, content, label, secret) {
  if (!(secret instanceof Uint8Array) || secret.length < 16 || secret.length % 8 !== 0) throw new Failure("input");
  const to = await publicKey(spki);
  const ephemeral = await guard("unsupported", () => crypto.subtle.generateKey(p521, false, ["deriveKey"]));
  const point = await rawPoint(ephemeral.publicKey);
  const kek = await envelopeKey(ephemeral.privateKey, to, content, label, point, await rawPoint(to), "wrapKey");
  const wrapped = await guard("failed", async () => {
    // AES key wrap takes keys; an HMAC key is any string of bytes.
    const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, true, ["sign"]);
    return crypto.subtle.wrapKey("raw", key, kek, "AES-KW");
  });
  const given = new Uint8Array(1 + pointLength + wrapped.byteLength);
  given[0] = givenVersion;
  given.set(point, 1);
  given.set(new Uint8Array(wrapped), 1 + pointLength);
  return given;
}

// take opens what give or hsm.Give made for the pair of privateKey and spki.
// The caller wipes the result.
export async function take(privateKey, spki, content, label, given) {
  const self = await publicKey(spki);
  if (!(given instanceof Uint8Array) || given.length < 1 + pointLength + 24 || given[0] !== givenVersion) throw new Failure("sealed");
  const point = given.slice(1, 1 + pointLength);
  const ephemeral = await guard("sealed", () => crypto.subtle.importKey("raw", point, p521, true, []));
  const kek = await envelopeKey(privateKey, ephemeral, content, label, point, await rawPoint(self), "unwrapKey");
  return guard("sealed", async () => {
    const key = await crypto.subtle.unwrapKey("raw", given.subarray(1 + pointLength), kek, "AES-KW", { name: "HMAC", hash: "SHA-256" }, true, ["sign"]);
    return new Uint8Array(await crypto.subtle.exportKey("raw", key));
  });
}

// kcv is the check value of an AES key of 16 or 32 bytes as hsm.KCV writes it,
// such as "C35280 GP". Methods are "GP" (GlobalPlatform: sixteen bytes 01
// enciphered, 3 bytes) and "CMAC" (ANSI X9.24-1: CMAC of a zero block, 5
// bytes). A key whose cipher is "3DES" has 16 or 24 bytes and the method
// "ECB-ZEROS" (a zero block enciphered, 3 bytes).
export async function kcv(method, key, cipher = "AES") {
  const written = (value) => Array.from(value, (b) => b.toString(16).padStart(2, "0")).join("").toUpperCase() + " " + method;
  if (cipher === "3DES") {
    if (!(key instanceof Uint8Array) || (key.length !== 16 && key.length !== 24) || method !== "ECB-ZEROS") throw new Failure("input");
    const block = new Uint8Array(8);
    tripleDES(key, block);
    return written(block.slice(0, 3));
  }
  if (!(key instanceof Uint8Array) || (key.length !== 16 && key.length !== 32)) throw new Failure("input");
  const aes = await guard("failed", () => crypto.subtle.importKey("raw", key, "AES-CBC", false, ["encrypt"]));
  const encipher = (block) =>
    guard("failed", async () => {
      // CBC of one block under a zero vector is ECB; the padding's block after it is dropped.
      const out = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv: new Uint8Array(16) }, aes, block));
      return out.slice(0, 16);
    });
  let value;
  if (method === "GP") {
    value = (await encipher(new Uint8Array(16).fill(1))).slice(0, 3);
  } else if (method === "CMAC") {
    // NIST SP 800-38B, 6.1 and 6.2: a whole block of zeros takes subkey K1.
    const subkey = await encipher(new Uint8Array(16));
    const carry = subkey[0] >> 7;
    for (let i = 0; i < 16; i++) subkey[i] = (subkey[i] << 1) | (i < 15 ? subkey[i + 1] >> 7 : 0);
    if (carry) subkey[15] ^= 0x87;
    value = (await encipher(subkey)).slice(0, 5);
    wipe(subkey);
  } else {
    throw new Failure("input");
  }
  return written(value);
}

// ---- triple DES ----------------------------------------------------------------------
//
// Browsers have none, and the check value of a component of it is wanted here. Tables
// of FIPS 46-3, whose places count from 1; the S-boxes row by row, a digit a value.

const places = (text) => text.split(" ").map(Number);
const desInitial = places("58 50 42 34 26 18 10 2 60 52 44 36 28 20 12 4 62 54 46 38 30 22 14 6 64 56 48 40 32 24 16 8 57 49 41 33 25 17 9 1 59 51 43 35 27 19 11 3 61 53 45 37 29 21 13 5 63 55 47 39 31 23 15 7");
const desRound = places("16 7 20 21 29 12 28 17 1 15 23 26 5 18 31 10 2 8 24 14 32 27 3 9 19 13 30 6 22 11 4 25");
const desKey1 = places("57 49 41 33 25 17 9 1 58 50 42 34 26 18 10 2 59 51 43 35 27 19 11 3 60 52 44 36 63 55 47 39 31 23 15 7 62 54 46 38 30 22 14 6 61 53 45 37 29 21 13 5 28 20 12 4");
const desKey2 = places("14 17 11 24 1 5 3 28 15 6 21 10 23 19 12 4 26 8 16 7 27 20 13 2 41 52 31 37 47 55 30 40 51 45 33 48 44 49 39 56 34 53 46 42 50 36 29 32");
const desBoxes = [
  "E4D12FB83A6C59070F74E2D1A6CB953841E8D62BFC973A50FC8249175B3EA06D",
  "F18E6B34972DC05A3D47F28EC01A69B50E7BA4D158C6932FD8A13F42B67C05E9",
  "A09E63F51DC7B428D709346A285ECBF1D6498F30B12C5AE71AD069874FE3B52C",
  "7DE3069A1285BC4FD8B56F03472C1AE9A690CB7DF13E52843F06A1D8945BC72E",
  "2C417AB6853FD0E9EB2C47D150FA3986421BAD78F9C5630EB8C71E2D6F09A453",
  "C1AF92680D34E75BAF427C9561DE0B389EF528C3704A1DB6432C95FABE17608D",
  "4B2EF08D3C975A61D0B7491AE35C2F8614BDC37EAF6805926BD814A7950FE23C",
  "D2846FB1A93E50C71FD8A374C56B0E927B419CE206ADF35821E74A8DFC90356B",
];

const pick = (bits, table) => Uint8Array.from(table, (place) => bits[place - 1]);
const bitsOf = (bytes) => Uint8Array.from({ length: 8 * bytes.length }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);

// desBlock passes 8 bytes through DES in place, under a key of 8 bytes.
function desBlock(key, block, decipher) {
  const bits = bitsOf(key);
  let half = pick(bits, desKey1);
  const rounds = [];
  for (let r = 0; r < 16; r++) {
    const by = r === 0 || r === 1 || r === 8 || r === 15 ? 1 : 2;
    const next = Uint8Array.from(half, (_, i) => half[i < 28 ? (i + by) % 28 : 28 + ((i - 28 + by) % 28)]);
    wipe(half);
    half = next;
    rounds.push(pick(half, desKey2));
  }
  if (decipher) rounds.reverse();
  const data = pick(bitsOf(block), desInitial);
  let [left, right] = [data.slice(0, 32), data.slice(32)];
  for (const round of rounds) {
    const made = new Uint8Array(32);
    for (let box = 0; box < 8; box++) {
      const six = Array.from({ length: 6 }, (_, i) => right[(4 * box + i + 31) % 32] ^ round[6 * box + i]);
      const value = parseInt(desBoxes[box][32 * six[0] + 16 * six[5] + 8 * six[1] + 4 * six[2] + 2 * six[3] + six[4]], 16);
      for (let i = 0; i < 4; i++) made[4 * box + i] = (value >> (3 - i)) & 1;
    }
    const next = pick(made, desRound).map((bit, i) => bit ^ left[i]);
    [left, right] = [right, next];
  }
  const last = [...right, ...left];
  block.fill(0);
  desInitial.forEach((place, i) => (block[(place - 1) >> 3] |= last[i] << (7 - ((place - 1) & 7))));
  for (const secret of [bits, half, ...rounds]) wipe(secret);
}

// tripleDES enciphers a block in place under a key of 16 or 24 bytes; of 16, the first
// 8 come again (NIST SP 800-67).
function tripleDES(key, block) {
  desBlock(key.subarray(0, 8), block, false);
  desBlock(key.subarray(8, 16), block, true);
  desBlock(key.length === 24 ? key.subarray(16) : key.subarray(0, 8), block, false);
}

// available refuses where there are no passkeys, as on a page without TLS.
function available() {
  if (!globalThis.isSecureContext || !globalThis.PublicKeyCredential || !globalThis.crypto?.subtle) throw new Failure("unsupported");
}

// guard turns what a function throws into a Failure.
async function guard(code, f) {
  try {
    return await f();
  } catch (cause) {
    throw cause instanceof Failure ? cause : new Failure(code, cause);
  }
}

// ask speaks to an authenticator. A browser does not tell why it was refused
// (WebAuthn level 3, 14.5.1).
async function ask(f) {
  try {
    return await f();
  } catch (cause) {
    const known = { NotAllowedError: "cancelled", AbortError: "cancelled", ConstraintError: "cancelled", InvalidStateError: "registered", NotSupportedError: "unsupported" };
    throw new Failure(known[cause.name] ?? "failed", cause);
  }
}

async function get(challenge, credentialId, rpId, extensions) {
  available();
  const publicKey = {
    challenge,
    rpId,
    timeout,
    allowCredentials: [{ type: "public-key", id: decode(credentialId) }],
    userVerification: "required",
    extensions,
  };
  return ask(() => navigator.credentials.get({ publicKey }));
}

// evaluate has a passkey compute its PRF of the sealing salt. The signature
// that comes with it is of a challenge that nobody keeps.
async function evaluate(credentialId, rpId) {
  const challenge = crypto.getRandomValues(new Uint8Array(32));
  const answer = await get(challenge, credentialId, rpId, { prf: { eval: { first: utf8(sealingSalt) } } });
  const first = answer.getClientExtensionResults().prf?.results?.first;
  if (!first) throw new Failure("no-prf");
  return first;
}

// wrappingKey makes the key that wraps a sealing pair's private half, and wipes
// what the PRF gave.
async function wrappingKey(prf, usage) {
  const secret = new Uint8Array(prf);
  try {
    return await guard("failed", async () => {
      const base = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveKey"]);
      const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: utf8(sealingInfo) };
      return crypto.subtle.deriveKey(how, base, { name: "AES-GCM", length: 256 }, false, [usage]);
    });
  } finally {
    wipe(secret);
  }
}

// makeSealing makes a pair whose private half never leaves the browser's own
// cryptography but wrapped.
async function makeSealing(prf) {
  const kek = await wrappingKey(prf, "wrapKey");
  const pair = await guard("unsupported", () => crypto.subtle.generateKey(p521, true, ["deriveKey"]));
  return guard("failed", async () => {
    const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
    const nonce = crypto.getRandomValues(new Uint8Array(nonceLength));
    const sealed = await crypto.subtle.wrapKey("pkcs8", pair.privateKey, kek, { name: "AES-GCM", iv: nonce, additionalData: spki });
    const wrapped = new Uint8Array(nonceLength + sealed.byteLength);
    wrapped.set(nonce);
    wrapped.set(new Uint8Array(sealed), nonceLength);
    return { public_key: encode(spki), wrapped: encode(wrapped) };
  });
}

function publicKey(spki) {
  return guard("input", () => crypto.subtle.importKey("spki", spki, p521, true, []));
}

function rawPoint(key) {
  return guard("failed", async () => new Uint8Array(await crypto.subtle.exportKey("raw", key)));
}

// envelopeKey derives the key that wraps a secret, as hsm's envelopeKey does.
// Every field of the info carries its length, so that no two fields can be read
// as others.
async function envelopeKey(privateKey, peer, content, label, ephemeral, fixed, usage) {
  const name = utf8(label);
  if (name.length === 0 || name.length > 255) throw new Failure("input");
  const info = [];
  for (const field of [utf8(givenInfo), utf8(content), name, ephemeral, fixed]) info.push(field.length >> 8, field.length & 255, ...field);
  return guard("failed", async () => {
    const shared = await crypto.subtle.deriveKey({ name: "ECDH", public: peer }, privateKey, "HKDF", false, ["deriveKey"]);
    const how = { name: "HKDF", hash: "SHA-512", salt: new Uint8Array(0), info: new Uint8Array(info) };
    return crypto.subtle.deriveKey(how, shared, { name: "AES-KW", length: 256 }, false, [usage]);
  });
}
