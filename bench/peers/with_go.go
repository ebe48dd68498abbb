// SPDX-License-Identifier: AGPL-3.0-or-later
// Go's goroutines: with_go bare BENCH N; BENCH_SECONDS: how long to measure.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var variant string
var sink int64

// how long to measure
func measured() time.Duration {
	s, err := strconv.ParseFloat(os.Getenv("BENCH_SECONDS"), 64)
	if err != nil {
		s = 3
	}
	return time.Duration(s * float64(time.Second))
}

func rss() float64 {
	b, _ := os.ReadFile("/proc/self/statm")
	f, _ := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	return f * 4096
}
func cpu() float64 {
	b, _ := os.ReadFile("/proc/self/stat")
	s := string(b)
	f := strings.Fields(s[strings.LastIndex(s, ")")+1:])
	u, _ := strconv.ParseFloat(f[11], 64)
	k, _ := strconv.ParseFloat(f[12], 64)
	return (u + k) / 100
}
func out(bench string, n int, kv map[string]interface{}) {
	kv["peer"] = fmt.Sprintf("go-%s-P%d", variant, runtime.GOMAXPROCS(0))
	kv["bench"] = bench
	kv["n"] = n
	b, _ := json.Marshal(kv)
	fmt.Println(string(b))
}

type Worker func(ctx context.Context) error

var errBoom = errors.New("boom")

// sleep is cancellable, as any supervised sleep has to be
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		t.Stop()
		return ctx.Err()
	}
}

func safely(ctx context.Context, w Worker) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return w(ctx)
}

func supervise(ctx context.Context, w Worker, backoff0, max time.Duration) {
	b := backoff0
	for {
		err := safely(ctx, w)
		if ctx.Err() != nil || err == nil {
			return
		}
		if b == 0 {
			runtime.Gosched()
		} else if sleep(ctx, b) != nil {
			return
		}
		if b *= 2; b > max {
			b = max
		}
	}
}

// host starts n workers; returns a func that requests stop and waits for all of them
func host(n int, mk func(i int) Worker, backoff0 time.Duration) func() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Add(n)
	for i := 0; i < n; i++ {
		w := mk(i)
		go func() { defer wg.Done(); supervise(ctx, w, backoff0, 30*time.Second) }()
	}
	return func() { cancel(); wg.Wait() }
}

func waitFor(p *int64, n int) {
	for atomic.LoadInt64(p) < int64(n) {
		time.Sleep(200 * time.Microsecond)
	}
}

func q(h []int64, k int64, p float64) float64 {
	lim := int64(p * float64(k))
	var a int64
	for i, v := range h {
		a += v
		if a >= lim && a > 0 {
			return float64(i) / 100
		}
	}
	return -1
}

func main() {
	variant = os.Args[1]
	bench := os.Args[2]
	n, _ := strconv.Atoi(os.Args[3])
	switch bench {
	case "idle", "idlebare":
		r0, c0, t0 := rss(), cpu(), time.Now()
		var in int64
		host(n, func(int) Worker {
			return func(ctx context.Context) error {
				atomic.AddInt64(&in, 1)
				if bench == "idlebare" {
					time.Sleep(time.Hour)
					return nil
				}
				return sleep(ctx, time.Hour)
			}
		}, time.Second)
		waitFor(&in, n)
		dt, dc := time.Since(t0), cpu()-c0
		time.Sleep(300 * time.Millisecond)
		r1 := rss()
		out("A_"+bench, n, map[string]interface{}{"bytes_per_worker": (r1 - r0) / float64(n), "start_ms": dt.Seconds() * 1e3, "start_cpu_s": dc, "rss_mb": r1 / 1e6, "base_mb": r0 / 1e6, "entered": in})
	case "crash", "crashpanic":
		var c int64
		host(n, func(int) Worker {
			return func(ctx context.Context) error {
				atomic.AddInt64(&c, 1)
				if bench == "crashpanic" {
					panic(errBoom)
				}
				return errBoom
			}
		}, 0)
		time.Sleep(500 * time.Millisecond)
		c0, n0, t0 := cpu(), atomic.LoadInt64(&c), time.Now()
		time.Sleep(measured())
		dn, dt, dc := float64(atomic.LoadInt64(&c)-n0), time.Since(t0).Seconds(), cpu()-c0
		out("B_"+bench, n, map[string]interface{}{"restarts_s": dn / dt, "cpu_us_per_restart": dc / dn * 1e6, "secs": dt})
	case "timers":
		const NB = 600001
		h := make([]int64, NB)
		var on int32
		host(n, func(i int) Worker {
			return func(ctx context.Context) error {
				x := uint32(i*7919 + 12345)
				t := time.NewTimer(time.Hour)
				t.Stop()
				for {
					x = (x*1103515245 + 12345) & 0x7fffffff
					d := time.Duration(1+(x>>8)%1000) * time.Millisecond
					t0 := time.Now()
					t.Reset(d)
					select {
					case <-t.C:
					case <-ctx.Done():
						return ctx.Err()
					}
					if atomic.LoadInt32(&on) == 1 {
						l := int64(time.Since(t0)-d) / 10000
						if l < 0 {
							l = 0
						} else if l >= NB {
							l = NB - 1
						}
						atomic.AddInt64(&h[l], 1)
					}
				}
			}
		}, time.Second)
		warm := measured() / 5
		if warm > 2*time.Second {
			warm = 2 * time.Second
		}
		time.Sleep(warm)
		atomic.StoreInt32(&on, 1)
		c0, t0 := cpu(), time.Now()
		time.Sleep(measured())
		atomic.StoreInt32(&on, 0)
		dc, dt := cpu()-c0, time.Since(t0).Seconds()
		var k int64
		for _, v := range h {
			k += v
		}
		out("C_timers", n, map[string]interface{}{"wakeups_s": float64(k) / dt, "cpu_s_per_M": dc / float64(k) * 1e6, "cpu_pct": dc / dt * 100,
			"p50_ms": q(h, k, .5), "p99_ms": q(h, k, .99), "p999_ms": q(h, k, .999), "max_ms": q(h, k, 1)})
	case "yield":
		var c [2]struct {
			v int64
			_ [15]int64
		}
		host(2, func(i int) Worker {
			return func(ctx context.Context) error {
				for {
					atomic.AddInt64(&c[i].v, 1)
					runtime.Gosched()
				}
			}
		}, time.Second)
		time.Sleep(300 * time.Millisecond)
		f := func() float64 { return float64(atomic.LoadInt64(&c[0].v) + atomic.LoadInt64(&c[1].v)) }
		n0, t0 := f(), time.Now()
		time.Sleep(measured())
		out("D_yield", 2, map[string]interface{}{"switches_s": (f() - n0) / time.Since(t0).Seconds()})
	case "pingpong":
		var c int64
		a, b := make(chan int), make(chan int)
		host(2, func(i int) Worker {
			if i == 0 {
				return func(ctx context.Context) error {
					for m := range b {
						a <- m
					}
					return nil
				}
			}
			return func(ctx context.Context) error {
				for {
					b <- 1
					<-a
					atomic.AddInt64(&c, 2)
				}
			}
		}, time.Second)
		time.Sleep(300 * time.Millisecond)
		n0, t0 := atomic.LoadInt64(&c), time.Now()
		time.Sleep(measured())
		out("E_pingpong", 2, map[string]interface{}{"msgs_s": float64(atomic.LoadInt64(&c)-n0) / time.Since(t0).Seconds()})
	case "fanin":
		var c int64
		ch := make(chan int, 1024)
		host(n+1, func(i int) Worker {
			if i == 0 {
				return func(ctx context.Context) error {
					for range ch {
						atomic.AddInt64(&c, 1)
					}
					return nil
				}
			}
			return func(ctx context.Context) error {
				for {
					ch <- 1
				}
			}
		}, time.Second)
		time.Sleep(500 * time.Millisecond)
		n0, t0 := atomic.LoadInt64(&c), time.Now()
		time.Sleep(measured())
		out("E_fanin", n, map[string]interface{}{"msgs_s": float64(atomic.LoadInt64(&c)-n0) / time.Since(t0).Seconds()})
	case "starve":
		secs := measured()
		var hog0 atomic.Int64
		type rec struct{ l, t time.Duration }
		base := time.Now()
		done := make(chan []rec)

		host(2, func(i int) Worker {
			if i == 0 {
				return func(ctx context.Context) error {
					var L []rec
					nxt := time.Since(base)
					for k := 0; k < 50+int(secs/(10*time.Millisecond)); k++ {
						nxt += 10 * time.Millisecond
						if w := nxt - time.Since(base); w > 0 {
							sleep(ctx, w)
						}
						t := time.Since(base)
						h := time.Duration(hog0.Load())
						if h > 0 && nxt >= h && nxt <= h+secs {
							L = append(L, rec{t - nxt, t})
						}
					}
					done <- L
					return nil
				}
			}
			return func(ctx context.Context) error {
				sleep(ctx, 200*time.Millisecond)
				t0 := time.Since(base)
				hog0.Store(int64(t0))
				x := int64(0)
				for {
					for j := 0; j < 100000; j++ {
						x += int64(j) ^ x
					}
					if time.Since(base)-t0 > secs {
						break
					}
				}
				atomic.StoreInt64(&sink, x)
				return nil
			}
		}, time.Second)
		L := <-done
		h := time.Duration(hog0.Load())
		during := 0
		var v []float64
		for _, r := range L {
			if r.t < h+secs-50*time.Millisecond {
				during++
			}
			v = append(v, r.l.Seconds()*1e3)
		}
		sort.Float64s(v)
		p := func(q float64) float64 {
			i := int(float64(len(v)) * q)
			if i >= len(v) {
				i = len(v) - 1
			}
			return v[i]
		}
		out("F_starve", 1, map[string]interface{}{"ticks_during_hog": during, "p50_ms": p(.5), "p99_ms": p(.99), "max_ms": p(1)})
	case "shutdown":
		var in, cl, last int64
		base := time.Now()
		stop := host(n, func(int) Worker {
			return func(ctx context.Context) error {
				defer func() {
					if atomic.AddInt64(&cl, 1) == int64(n) {
						atomic.StoreInt64(&last, int64(time.Since(base)))
					}
				}()
				atomic.AddInt64(&in, 1)
				return sleep(ctx, time.Hour)
			}
		}, time.Second)
		waitFor(&in, n)
		time.Sleep(500 * time.Millisecond)
		c0, t0 := cpu(), time.Since(base)
		stop()
		t1 := time.Since(base)
		out("G_shutdown", n, map[string]interface{}{"cleaned_ms": float64(last-int64(t0)) / 1e6, "returned_ms": (t1 - t0).Seconds() * 1e3, "cpu_s": cpu() - c0, "cleaned": cl})
	case "cold":
		var in int64
		host(n, func(int) Worker {
			return func(ctx context.Context) error {
				if atomic.AddInt64(&in, 1) == int64(n) {
					if os.Getenv("SHOW") != "" {
						out("H_cold", n, map[string]interface{}{"rss_mb": rss() / 1e6})
					}
					os.Exit(0)
				}
				return sleep(ctx, time.Hour)
			}
		}, time.Second)
		select {}
	case "echo":
		host(1, func(int) Worker {
			return func(ctx context.Context) error {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n))
				if err != nil {
					return err
				}
				for {
					c, err := l.Accept()
					if err != nil {
						return err
					}
					go func() {
						defer c.Close()
						b := make([]byte, 4096)
						for {
							k, err := c.Read(b)
							if err != nil {
								return
							}
							if _, err = c.Write(b[:k]); err != nil {
								return
							}
						}
					}()
				}
			}
		}, time.Second)
		select {}
	}
	os.Exit(0)
}
