'use strict';
// SPDX-License-Identifier: AGPL-3.0-or-later
// Node's async functions: node with_node.js BENCH N; BENCH_SECONDS: how long to measure.
// ctx.sleep is a hand-rolled cancellable sleep (cheaper than timers/promises + AbortSignal; see idle_abort).
const fs = require('fs');
const T = require('timers/promises');
const SECONDS = +(process.env.BENCH_SECONDS || 3);
const now = () => performance.now();
const rss = () => +fs.readFileSync('/proc/self/statm', 'latin1').split(' ')[1] * 4096;
const cpu = () => { const s = fs.readFileSync('/proc/self/stat', 'latin1'); const f = s.slice(s.lastIndexOf(')') + 2).split(' '); return (+f[11] + +f[12]) / 100; };
const PEER = process.env.PEER || 'node';
const out = (bench, n, kv) => fs.writeSync(1, JSON.stringify({ peer: PEER, bench, n, ...kv }) + '\n');
const raw = (ms) => new Promise((r) => setTimeout(r, ms));

class Cancelled extends Error {}
const CANCEL = new Cancelled('cancelled');
class Worker {
  constructor(name, fn) { this.name = name; this.fn = fn; this.rej = null; this.t = null; this.stopped = false; }
  sleep(ms) {
    if (this.stopped) return Promise.reject(CANCEL);
    return new Promise((res, rej) => {
      this.rej = rej;
      this.t = setTimeout(res, ms);
    });
  }
  tick() { return new Promise((r) => setImmediate(r)); }
  cancel() { this.stopped = true; if (this.rej) { clearTimeout(this.t); this.rej(CANCEL); } }
}
async function supervise(w, backoff0 = 1000, max = 30000) {
  let b = backoff0;
  for (;;) {
    try { await w.fn(w); return; } catch (e) {
      if (e === CANCEL || w.stopped) return;
      if (b === 0) await w.tick(); else { try { await w.sleep(b); } catch { return; } }
      b = Math.min(b * 2, max);
    }
  }
}
function host(n, mk, b0) {
  const ws = new Array(n), ps = new Array(n);
  for (let i = 0; i < n; i++) { ws[i] = new Worker('w' + i, mk(i)); ps[i] = supervise(ws[i], b0); }
  return { stop: async () => { for (const w of ws) w.cancel(); await Promise.all(ps); } };
}
class Queue { // async mailbox, optional bound
  constructor(max = Infinity) { this.q = []; this.h = 0; this.g = []; this.gh = 0; this.p = []; this.ph = 0; this.max = max; }
  get len() { return this.q.length - this.h; }
  _wakeP() { if (this.ph < this.p.length) { const r = this.p[this.ph]; this.p[this.ph++] = undefined; if (this.ph > 1024 && this.ph * 2 > this.p.length) { this.p = this.p.slice(this.ph); this.ph = 0; } r(); } }
  async put(v) { while (this.len >= this.max) await new Promise((r) => this.p.push(r)); this.post(v); }
  post(v) {
    if (this.gh < this.g.length) { const r = this.g[this.gh++]; if (this.gh === this.g.length) { this.g.length = 0; this.gh = 0; } r(v); } else this.q.push(v);
  }
  get() {
    if (this.len > 0) {
      const v = this.q[this.h++];
      if (this.h === this.q.length) { this.q.length = 0; this.h = 0; } else if (this.h > 1024 && this.h * 2 > this.q.length) { this.q = this.q.slice(this.h); this.h = 0; }
      this._wakeP(); return v;
    }
    return new Promise((r) => this.g.push(r));
  }
}
const pct = (v, q) => v[Math.min(v.length - 1, Math.floor(v.length * q))];

const B = {
  async idle(n) {
    const r0 = rss(), c0 = cpu(), t0 = now(); let c = 0, dn; const done = new Promise((r) => (dn = r));
    host(n, () => async (w) => { if (++c === n) dn(); await w.sleep(3600e3); });
    await done; const dt = now() - t0, dc = cpu() - c0; await raw(300); const r1 = rss();
    out('A_idle', n, { bytes_per_worker: (r1 - r0) / n, start_ms: dt, start_cpu_s: dc, rss_mb: r1 / 1e6, base_mb: r0 / 1e6, entered: c });
  },
  async idle_abort(n) { // idiomatic: timers/promises + one AbortController per worker
    const r0 = rss(), c0 = cpu(), t0 = now(); let c = 0, dn; const done = new Promise((r) => (dn = r));
    host(n, () => async (w) => { w.ac = new AbortController(); if (++c === n) dn(); await T.setTimeout(3600e3, undefined, { signal: w.ac.signal }); });
    await done; const dt = now() - t0, dc = cpu() - c0; await raw(300); const r1 = rss();
    out('A_idle_abort', n, { bytes_per_worker: (r1 - r0) / n, start_ms: dt, start_cpu_s: dc, rss_mb: r1 / 1e6, base_mb: r0 / 1e6, entered: c });
  },
  async crash(n) {
    let c = 0;
    host(n, () => async (w) => { c++; throw new Error('boom'); }, 0);
    await raw(500); const c0 = cpu(), n0 = c, t0 = now(); await raw(SECONDS * 1e3);
    const dn = c - n0, dt = (now() - t0) / 1e3, dc = cpu() - c0;
    out('B_crash', n, { restarts_s: dn / dt, cpu_us_per_restart: dc / dn * 1e6, secs: dt });
  },
  async timers(n) {
    let on = false, k = 0; const lat = new Float64Array(4e6);
    host(n, () => async (w) => { for (;;) { const d = 1 + Math.floor(Math.random() * 1000), t = now(); await w.sleep(d); if (on) lat[k++] = now() - t - d; } });
    await raw(2000 * Math.min(1, SECONDS / 10)); on = true; const c0 = cpu(), t0 = now(); await raw(SECONDS * 1e3); on = false;
    const dc = cpu() - c0, dt = (now() - t0) / 1e3; const v = lat.subarray(0, k).sort();
    out('C_timers', n, { wakeups_s: k / dt, cpu_s_per_M: dc / k * 1e6, cpu_pct: dc / dt * 100, p50_ms: pct(v, .5), p99_ms: pct(v, .99), p999_ms: pct(v, .999), max_ms: v[k - 1] });
  },
  async yield(n) { // macrotask yield (lets IO and timers run)
    let c = 0; host(2, () => async (w) => { for (;;) { c++; await w.tick(); } });
    await raw(300); const n0 = c, t0 = now(); await raw(SECONDS * 1e3); out('D_yield', 2, { switches_s: (c - n0) / ((now() - t0) / 1e3) });
  },
  async yieldmicro(n) { // microtask yield: starves the loop, so counts itself out
    const M = 7e6 * SECONDS; let c = 0; const t0 = now(); const p = [];
    for (let i = 0; i < 2; i++) p.push((async () => { for (let j = 0; j < M / 2; j++) { c++; await null; } })());
    await Promise.all(p); out('D_yieldmicro', 2, { switches_s: c / ((now() - t0) / 1e3) });
  },
  async pingpong(n) { // promises wake in microtasks: bounded count, since timers would starve
    const M = 1e6 * SECONDS; const a = new Queue(), b = new Queue(); let t0 = now(), dn; const done = new Promise((r) => (dn = r));
    host(2, (i) => i === 0 ? async () => { for (;;) { a.post(await b.get()); } } : async () => { for (let j = 0; j < M; j++) { b.post(1); await a.get(); } dn(); });
    await done; out('E_pingpong', 2, { msgs_s: 2 * M / ((now() - t0) / 1e3) });
  },
  async fanin(n) {
    const M = 1e6 * SECONDS; const q = new Queue(1024); let c = 0, t0 = now(), dn; const done = new Promise((r) => (dn = r));
    host(n + 1, (i) => i === 0 ? async () => { for (; c < M;) { await q.get(); c++; } dn(); } : async () => { for (; c < M;) await q.put(1); });
    await done; out('E_fanin', n, { msgs_s: c / ((now() - t0) / 1e3) });
  },
  async starve() {
    const secs = SECONDS * 1e3; const L = []; let hog = 0, dn; const done = new Promise((r) => (dn = r));
    host(2, (i) => i === 0 ? async (w) => {
      let nxt = now();
      for (let k = 0; k < 50 + SECONDS * 100; k++) { nxt += 10; await w.sleep(Math.max(0, nxt - now())); const t = now(); if (hog && nxt >= hog && nxt <= hog + secs) L.push([t - nxt, t]); }
      dn();
    } : async (w) => { await w.sleep(200); const t0 = hog = now(); let x = 0; for (;;) { for (let j = 0; j < 1e5; j++) x += j; if (now() - t0 > secs) break; } });
    await done; const during = L.filter((r) => r[1] < hog + secs - 50).length; const v = Float64Array.from(L.map((r) => r[0])).sort();
    out('F_starve', 1, { ticks_during_hog: during, p50_ms: pct(v, .5), p99_ms: pct(v, .99), max_ms: v[v.length - 1] });
  },
  async shutdown(n) {
    let c = 0, cl = 0, last = 0, dn; const done = new Promise((r) => (dn = r));
    const h = host(n, () => async (w) => { if (++c === n) dn(); try { await w.sleep(3600e3); } finally { if (++cl === n) last = now(); } });
    await done; await raw(500); const t0 = now(), c0 = cpu(); await h.stop(); const t1 = now();
    out('G_shutdown', n, { cleaned_ms: last - t0, returned_ms: t1 - t0, cpu_s: cpu() - c0, cleaned: cl });
  },
  async cold(n) {
    let c = 0; host(n, () => async (w) => { if (++c === n) { if (process.env.SHOW) out('H_cold', n, { rss_mb: rss() / 1e6 }); process.reallyExit ? process.reallyExit(0) : process.exit(0); } await w.sleep(3600e3); });
  },
  async echo(port) {
    host(1, () => async (w) => { const net = require('net'); net.createServer({ noDelay: true }, (s) => { s.on('data', (d) => s.write(d)); s.on('error', () => {}); }).listen(port, '127.0.0.1'); await w.sleep(3600e3); });
    await raw(3600e3);
  },
};
B[process.argv[2]](+process.argv[3]).then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
