#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Python asyncio, or uvloop: with_asyncio.py [--uvloop] [--nogc] BENCH N; BENCH_SECONDS: how long to measure.
supervise()/run_group() are an equivalent of the original module's (initial backoff made a
parameter so that the crash bench can use 0)."""
import asyncio, json, logging, os, random, signal, sys, time

log = logging.getLogger("peer")
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
PEER = "asyncio"
CREATE = lambda coro, name: asyncio.create_task(coro, name=name)


async def supervise(name, factory, *, max_backoff=30.0, backoff0=1.0):
    backoff = backoff0
    while True:
        try:
            await factory()
        except asyncio.CancelledError:
            log.info("worker %s cancelled; stopping", name)
            raise
        except Exception:
            log.exception("worker %s crashed; restarting in %.0fs", name, backoff)
            try:
                await asyncio.sleep(backoff)
            except asyncio.CancelledError:
                raise
            backoff = min(backoff * 2.0, max_backoff)
        else:
            log.info("worker %s exited cleanly; not restarting", name)
            return


async def run_group(specs, *, stop=None, install_signals=True, backoff0=1.0):
    if not specs:
        return
    if stop is None:
        stop = asyncio.Event()
    if install_signals:
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, stop.set)
    tasks = [asyncio.create_task(supervise(n, f, backoff0=backoff0), name=n) for n, f in specs]
    try:
        await stop.wait()
    finally:
        for t in tasks:
            t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def cpu():
    with open("/proc/self/stat") as f:
        p = f.read().rsplit(")", 1)[1].split()
    return (int(p[11]) + int(p[12])) / 100.0


now = time.perf_counter


def out(bench, n, **kw):
    print(json.dumps(dict(peer=PEER, bench=bench, n=n, **kw)), flush=True)


def pct(v, q):
    return v[min(len(v) - 1, int(len(v) * q))]


async def idle(n):
    r0, c0 = rss(), cpu()
    entered = 0
    done = asyncio.Event()
    stop = asyncio.Event()

    async def worker():
        nonlocal entered
        entered += 1
        if entered == n:
            done.set()
        await asyncio.sleep(3600)

    t0 = now()
    g = asyncio.create_task(run_group([("w%d" % i, worker) for i in range(n)], stop=stop))
    await done.wait()
    await asyncio.sleep(0)
    dt = now() - t0
    c1 = cpu()
    await asyncio.sleep(0.3)
    r1 = rss()
    out("A_idle", n, bytes_per_worker=(r1 - r0) / n, start_ms=dt * 1e3, start_cpu_s=c1 - c0, rss_mb=r1 / 1e6, base_mb=r0 / 1e6, entered=entered)
    os._exit(0)


async def crash(n, secs=SECONDS):
    logging.disable(logging.CRITICAL)
    cnt = 0
    stop = asyncio.Event()

    async def worker():
        nonlocal cnt
        cnt += 1
        raise RuntimeError("boom")

    g = asyncio.create_task(run_group([("w%d" % i, worker) for i in range(n)], stop=stop, backoff0=0.0))
    await asyncio.sleep(0.5)
    c0, n0, t0 = cpu(), cnt, now()
    await asyncio.sleep(secs)
    dn, dt, dc = cnt - n0, now() - t0, cpu() - c0
    out("B_crash", n, restarts_s=dn / dt, cpu_us_per_restart=dc / dn * 1e6, secs=dt)
    os._exit(0)


async def timers(n, secs=SECONDS, warm=2 * min(1, SECONDS / 10)):
    stop = asyncio.Event()
    lat = []
    rec = lat.append
    rnd = random.random
    slp = asyncio.sleep
    on = False

    async def worker():
        while True:
            d = (1 + int(rnd() * 1000)) / 1000.0
            t = now()
            await slp(d)
            if on:
                rec(now() - t - d)

    g = asyncio.create_task(run_group([("w%d" % i, worker) for i in range(n)], stop=stop))
    await asyncio.sleep(warm)
    on = True
    c0, t0 = cpu(), now()
    await asyncio.sleep(secs)
    on = False
    dc, dt = cpu() - c0, now() - t0
    k = len(lat)
    lat.sort()
    out("C_timers", n, wakeups_s=k / dt, cpu_s_per_M=dc / k * 1e6, cpu_pct=dc / dt * 100,
        p50_ms=pct(lat, .5) * 1e3, p99_ms=pct(lat, .99) * 1e3, p999_ms=pct(lat, .999) * 1e3, max_ms=lat[-1] * 1e3)
    os._exit(0)


async def yield_(n, secs=SECONDS):
    cnt = 0
    stop = asyncio.Event()

    async def worker():
        nonlocal cnt
        z = asyncio.sleep
        while True:
            cnt += 1
            await z(0)

    g = asyncio.create_task(run_group([("w%d" % i, worker) for i in range(2)], stop=stop))
    await asyncio.sleep(0.3)
    n0, t0 = cnt, now()
    await asyncio.sleep(secs)
    out("D_yield", 2, switches_s=(cnt - n0) / (now() - t0))
    os._exit(0)


async def pingpong(n, secs=SECONDS):
    cnt = 0
    a, b = asyncio.Queue(), asyncio.Queue()
    stop = asyncio.Event()

    async def ping():
        nonlocal cnt
        while True:
            b.put_nowait(1)
            await a.get()
            cnt += 2

    async def pong():
        while True:
            m = await b.get()
            a.put_nowait(m)

    g = asyncio.create_task(run_group([("pong", pong), ("ping", ping)], stop=stop))
    await asyncio.sleep(0.3)
    n0, t0 = cnt, now()
    await asyncio.sleep(secs)
    out("E_pingpong", 2, msgs_s=(cnt - n0) / (now() - t0))
    os._exit(0)


async def fanin(n, secs=SECONDS):
    cnt = 0
    q = asyncio.Queue(maxsize=1024)
    stop = asyncio.Event()

    async def prod():
        while True:
            await q.put(1)

    async def cons():
        nonlocal cnt
        while True:
            await q.get()
            cnt += 1

    g = asyncio.create_task(run_group([("c", cons)] + [("p%d" % i, prod) for i in range(n)], stop=stop))
    await asyncio.sleep(0.5)
    n0, t0 = cnt, now()
    await asyncio.sleep(secs)
    out("E_fanin", n, msgs_s=(cnt - n0) / (now() - t0))
    os._exit(0)


async def starve(n, secs=SECONDS):
    stop = asyncio.Event()
    lat = []
    hog = [None, None]
    done = asyncio.Event()

    async def ticker():
        nxt = now()
        end_n = int(secs * 100)
        for i in range(50 + end_n):
            nxt += 0.01
            await asyncio.sleep(max(0, nxt - now()))
            t = now()
            if hog[0] is not None and nxt >= hog[0] and nxt <= hog[0] + secs:
                lat.append((t - nxt, t))
        done.set()

    async def hogger():
        await asyncio.sleep(0.2)
        hog[0] = t0 = now()
        x = 0
        while True:
            for _ in range(10000):
                x += 1
            if now() - t0 > secs:
                break

    g = asyncio.create_task(run_group([("t", ticker), ("h", hogger)], stop=stop))
    await done.wait()
    during = sum(1 for l, t in lat if t < hog[0] + secs - 0.05)
    v = sorted(l for l, t in lat)
    out("F_starve", 1, ticks_during_hog=during, p50_ms=pct(v, .5) * 1e3, p99_ms=pct(v, .99) * 1e3, max_ms=v[-1] * 1e3)
    os._exit(0)


async def shutdown(n):
    entered = cleaned = 0
    tlast = 0
    done = asyncio.Event()
    stop = asyncio.Event()

    async def worker():
        nonlocal entered, cleaned, tlast
        entered += 1
        if entered == n:
            done.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned += 1
            if cleaned == n:
                tlast = now()

    g = asyncio.create_task(run_group([("w%d" % i, worker) for i in range(n)], stop=stop))
    await done.wait()
    await asyncio.sleep(0.5)
    t0, c0 = now(), cpu()
    stop.set()
    await g
    t1 = now()
    assert cleaned == n
    out("G_shutdown", n, cleaned_ms=(tlast - t0) * 1e3, returned_ms=(t1 - t0) * 1e3, cpu_s=cpu() - c0, cleaned=cleaned)
    os._exit(0)


async def cold(n):
    stop = asyncio.Event()
    c = 0

    async def worker():
        nonlocal c
        c += 1
        if c == n:
            if os.environ.get("SHOW"):
                out("H_cold", n, rss_mb=rss() / 1e6)
            os._exit(0)
        await asyncio.sleep(3600)

    await run_group([("w%d" % i, worker) for i in range(n)], stop=stop)


async def echo(port):
    stop = asyncio.Event()

    async def server():
        async def h(r, w):
            try:
                while True:
                    d = await r.read(4096)
                    if not d:
                        break
                    w.write(d)
            except ConnectionError:
                pass
            w.close()
        s = await asyncio.start_server(h, "127.0.0.1", port)
        async with s:
            await s.serve_forever()

    await run_group([("srv", server)], stop=stop)


async def echoproto(port):
    stop = asyncio.Event()

    class P(asyncio.Protocol):
        def connection_made(self, tr):
            self.w = tr.write

        def data_received(self, d):
            self.w(d)

    async def server():
        s = await asyncio.get_running_loop().create_server(P, "127.0.0.1", port)
        async with s:
            await s.serve_forever()

    await run_group([("srv", server)], stop=stop)


def main():
    global PEER
    a = sys.argv[1:]
    if a[0] == "--uvloop":
        a = a[1:]
        import uvloop
        uvloop.install()
        PEER = "uvloop"
    if a[0] == "--nogc":          # what an expert does for many long-lived tasks: gc.disable()/gc.freeze()
        a = a[1:]
        import gc
        gc.disable()
        PEER += "-nogc"
    b, n = a[0], int(a[1])
    fn = dict(idle=idle, crash=crash, timers=timers, pingpong=pingpong, fanin=fanin, starve=starve,
              shutdown=shutdown, cold=cold, echo=echo, echoproto=echoproto)
    fn["yield"] = yield_
    asyncio.run(fn[b](n))


main()
