%% SPDX-License-Identifier: AGPL-3.0-or-later
%% Erlang/OTP: erl -noshell -noinput -pa DIR -run with_erlang main VARIANT BENCH N
%% BENCH_SECONDS: how long to measure
%% variants: sup (supervisor one_for_one, N children), sofo (simple_one_for_one),
%%           supper (one supervisor per worker), mon (plain spawn_monitor loop), mon_error
-module(with_erlang).
-behaviour(supervisor).
-export([main/1, init/1, start_w/1, w_loop/1, start_sub/1]).

rss() ->
    {ok, B} = file:read_file("/proc/self/statm"),
    [_, R | _] = string:lexemes(binary_to_list(B), " "),
    list_to_integer(R) * 4096.
cpu() ->
    {ok, B} = file:read_file("/proc/self/stat"),
    [_, T] = string:split(binary_to_list(B), ")", trailing),
    L = string:lexemes(T, " "),
    (list_to_integer(lists:nth(12, L)) + list_to_integer(lists:nth(13, L))) / 100.
measured_ms() ->
    S = os:getenv("BENCH_SECONDS", "3"),
    trunc(1000 * try list_to_float(S) catch error:badarg -> list_to_integer(S) end).
now_ns() -> erlang:monotonic_time(nanosecond).

out(V, B, N, KV) ->
    S = erlang:system_info(schedulers_online),
    io:format("{\"peer\": \"erl-~s-S~w\", \"bench\": \"~s\", \"n\": ~w~s}~n",
              [V, S, B, N, [io_lib:format(", \"~s\": ~w", [K, X]) || {K, X} <- KV]]).

main([V, B, Ns]) ->
    logger:set_primary_config(level, none),
    run(list_to_atom(V), B, list_to_integer(Ns)),
    erlang:halt(0, [{flush, true}]).

%% ---- supervision ---------------------------------------------------------
init({top, Strat, Specs}) ->
    {ok, {#{strategy => Strat, intensity => 1000000000, period => 1}, Specs}}.

spec(Id, F) -> #{id => Id, start => {?MODULE, start_w, [F]}, restart => transient, shutdown => 60000}.
start_w(F) -> {ok, proc_lib:spawn_link(?MODULE, w_loop, [F])}.
w_loop(F) -> F().
start_sub(F) -> supervisor:start_link(?MODULE, {top, one_for_one, [spec(w, F)]}).

%% start N workers running F under a host of kind V; returns {Pid, StopFun}; caller traps exits
host(sup, N, F) ->
    {ok, P} = supervisor:start_link(?MODULE, {top, one_for_one, [spec(I, F) || I <- lists:seq(1, N)]}), P;
host(sofo, N, F) ->
    {ok, P} = supervisor:start_link(?MODULE, {top, simple_one_for_one,
              [#{id => w, start => {?MODULE, start_w, []}, restart => transient, shutdown => 60000}]}),
    [{ok, _} = supervisor:start_child(P, [F]) || _ <- lists:seq(1, N)], P;
host(supper, N, F) ->
    {ok, P} = supervisor:start_link(?MODULE, {top, one_for_one,
       [#{id => I, start => {?MODULE, start_sub, [F]}, type => supervisor, shutdown => infinity} || I <- lists:seq(1, N)]}), P;
host(_mon, N, F) ->
    spawn_link(fun() ->
        process_flag(trap_exit, true),
        M = lists:foldl(fun(I, A) -> {P, R} = spawn_monitor(F), A#{R => {I, P, 0}} end, #{}, lists:seq(1, N)),
        mon_loop(F, M, 0)
    end).

%% backoff 0: respawn at once (a real one would erlang:send_after({restart, I, B*2}))
mon_loop(F, M, B0) ->
    receive
        {'DOWN', R, process, _, normal} -> mon_loop(F, maps:remove(R, M), B0);
        {'DOWN', R, process, _, _Why} ->
            {{I, _, K}, M1} = maps:take(R, M),
            {P, R2} = spawn_monitor(F),
            mon_loop(F, M1#{R2 => {I, P, K + 1}}, B0);
        {'EXIT', _, shutdown} ->
            maps:foreach(fun(_, {_, P, _}) -> exit(P, shutdown) end, M),
            mon_drain(maps:size(M));
        {'EXIT', _, _} -> mon_loop(F, M, B0)
    end.
mon_drain(0) -> exit(shutdown);
mon_drain(N) -> receive {'DOWN', _, process, _, _} -> mon_drain(N - 1) end.

%% ---- benches -------------------------------------------------------------
run(V, "idle", N) ->
    process_flag(trap_exit, true),
    C = counters:new(1, []), Me = self(),
    R0 = rss(), C0 = cpu(), T0 = now_ns(),
    F = fun() ->
            counters:add(C, 1, 1),
            case counters:get(C, 1) of N -> Me ! all_in; _ -> ok end,
            receive stop -> ok after 3600000 -> ok end end,
    _ = host(V, N, F),
    receive all_in -> ok after 600000 -> ok end,
    T1 = now_ns(), C1 = cpu(), timer:sleep(300), R1 = rss(),
    out(V, "A_idle", N, [{bytes_per_worker, (R1 - R0) / N}, {start_ms, (T1 - T0) / 1.0e6}, {start_cpu_s, C1 - C0},
                         {rss_mb, R1 / 1.0e6}, {base_mb, R0 / 1.0e6}, {entered, counters:get(C, 1)}]);
run(V, "crash", N) ->
    process_flag(trap_exit, true),
    C = counters:new(1, [write_concurrency]),
    F = case V of
            mon -> fun() -> counters:add(C, 1, 1), exit(boom) end;
            _ -> fun() -> counters:add(C, 1, 1), erlang:error(boom) end
        end,
    _ = host(V, N, F),
    timer:sleep(500),
    C0 = cpu(), N0 = counters:get(C, 1), T0 = now_ns(),
    timer:sleep(measured_ms()),
    Dn = counters:get(C, 1) - N0, Dt = (now_ns() - T0) / 1.0e9, Dc = cpu() - C0,
    out(V, "B_crash", N, [{restarts_s, Dn / Dt}, {cpu_us_per_restart, Dc / max(1, Dn) * 1.0e6}, {secs, Dt}]);
run(V, "timers", N) ->
    process_flag(trap_exit, true),
    NB = 600001,                                  % 10 us buckets up to 6 s
    H = counters:new(NB, [atomics]), On = atomics:new(1, []),
    Seq = atomics:new(1, []),
    F = fun() -> tw(H, On, NB, atomics:add_get(Seq, 1, 1) * 7919 + 12345) end,
    _ = host(V, N, F),
    timer:sleep(min(2000, measured_ms() div 5)),
    atomics:put(On, 1, 1), C0 = cpu(), T0 = now_ns(),
    timer:sleep(measured_ms()),
    atomics:put(On, 1, 0), Dc = cpu() - C0, Dt = (now_ns() - T0) / 1.0e9,
    L = [counters:get(H, I) || I <- lists:seq(1, NB)], K = lists:sum(L),
    Q = fun(P) -> q(L, P * K, 0, 0) / 100 end,
    out(V, "C_timers", N, [{wakeups_s, K / Dt}, {cpu_s_per_M, Dc / K * 1.0e6}, {cpu_pct, Dc / Dt * 100},
        {p50_ms, Q(0.5)}, {p99_ms, Q(0.99)}, {p999_ms, Q(0.999)}, {max_ms, Q(0.9999999)}]);
run(V, "yield", _) ->
    C = counters:new(1, [write_concurrency]),
    [spawn_link(fun() -> yl(C, 0) end) || _ <- [1, 2]],
    timer:sleep(300), N0 = counters:get(C, 1), T0 = now_ns(), timer:sleep(measured_ms()),
    out(V, "D_yield", 2, [{switches_s, (counters:get(C, 1) - N0) / ((now_ns() - T0) / 1.0e9)}]);
run(V, "pingpong", _) ->
    C = counters:new(1, [write_concurrency]),
    A = spawn_link(fun() -> receive {go, B} -> B ! {self(), m}, pp(C, 0) end end),
    B = spawn_link(fun() -> pp(C, 0) end),
    A ! {go, B},
    timer:sleep(300), N0 = counters:get(C, 1), T0 = now_ns(), timer:sleep(measured_ms()),
    out(V, "E_pingpong", 2, [{msgs_s, (counters:get(C, 1) - N0) / ((now_ns() - T0) / 1.0e9)}]);
run(V, "fanin", N) ->
    Per = measured_ms(), Me = self(),
    Cons = spawn_link(fun() -> T0 = receive {go, T} -> T end, eat(N * Per), Me ! {done, now_ns() - T0} end),
    Ps = [spawn_link(fun() -> receive go -> feed(Cons, Per) end end) || _ <- lists:seq(1, N)],
    timer:sleep(200),
    Cons ! {go, now_ns()}, [P ! go || P <- Ps],
    receive {done, D} -> ok end,
    out(V, "E_fanin", N, [{msgs_s, N * Per / (D / 1.0e9)}]);
run(V, "starve", _) ->
    Me = self(), Secs = measured_ms() * 1000000, Hog = atomics:new(1, []),
    spawn_link(fun() -> tick(now_ns(), 50 + measured_ms() div 10, [], Hog, Secs, Me) end),
    spawn_link(fun() -> timer:sleep(200), T0 = now_ns(), atomics:put(Hog, 1, T0 bor 0), spin(0, 0), hog(T0, Secs) end),
    receive {lat, L} -> ok end,
    H0 = atomics:get(Hog, 1),
    During = length([1 || {_, T} <- L, T < H0 + Secs - 50000000]),
    Vs = lists:sort([X || {X, _} <- L]), Ln = length(Vs),
    P = fun(Q) -> lists:nth(min(Ln, trunc(Ln * Q) + 1), Vs) / 1.0e6 end,
    out(V, "F_starve", 1, [{ticks_during_hog, During}, {p50_ms, P(0.5)}, {p99_ms, P(0.99)}, {max_ms, P(1)}]);
run(V, "shutdown", N) ->
    process_flag(trap_exit, true),
    C = counters:new(2, []), Last = atomics:new(1, []), Me = self(),
    F = fun() ->
            process_flag(trap_exit, true),
            counters:add(C, 1, 1),
            case counters:get(C, 1) of N -> Me ! all_in; _ -> ok end,
            receive {'EXIT', _, Why} -> 
                counters:add(C, 2, 1),
                case counters:get(C, 2) of N -> atomics:put(Last, 1, now_ns()); _ -> ok end,
                exit(Why)
            after 3600000 -> ok end end,
    P = host(V, N, F),
    receive all_in -> ok end, timer:sleep(500),
    MRef = monitor(process, P), T0 = now_ns(), C0 = cpu(),
    exit(P, shutdown),
    receive {'DOWN', MRef, _, _, _} -> ok end,
    T1 = now_ns(),
    out(V, "G_shutdown", N, [{cleaned_ms, (atomics:get(Last, 1) - T0) / 1.0e6}, {returned_ms, (T1 - T0) / 1.0e6},
        {cpu_s, cpu() - C0}, {cleaned, counters:get(C, 2)}]);
run(V, "cold", N) ->
    process_flag(trap_exit, true),
    C = counters:new(1, []), Show = os:getenv("SHOW"),
    _ = host(V, N, fun() ->
        counters:add(C, 1, 1),
        case counters:get(C, 1) of
            N -> case Show of false -> ok; _ -> out(V, "H_cold", N, [{rss_mb, rss() / 1.0e6}]) end, erlang:halt(0, [{flush, Show =/= false}]);
            _ -> receive after 3600000 -> ok end
        end end),
    receive never -> ok end;
run(V, "echo", Port) ->
    process_flag(trap_exit, true),
    _ = host(V, 1, fun() ->
        {ok, L} = gen_tcp:listen(Port, [binary, {active, false}, {nodelay, true}, {reuseaddr, true}, {backlog, 128}, {ip, {127,0,0,1}}]),
        acc(L) end),
    receive never -> ok end.

acc(L) ->
    {ok, S} = gen_tcp:accept(L),
    P = spawn(fun() -> receive go -> ok end, inet:setopts(S, [{active, 100}]), conn(S) end),
    ok = gen_tcp:controlling_process(S, P), P ! go, acc(L).
conn(S) ->
    receive
        {tcp, S, D} -> gen_tcp:send(S, D), conn(S);
        {tcp_passive, S} -> inet:setopts(S, [{active, 100}]), conn(S);
        {tcp_closed, S} -> ok; {tcp_error, S, _} -> ok
    end.

tw(H, On, NB, X0) ->
    X = (X0 * 1103515245 + 12345) band 16#7fffffff,
    Ms = 1 + (X bsr 8) rem 1000,
    T = now_ns(),
    receive stop -> ok after Ms ->
        case atomics:get(On, 1) of
            1 -> L = (now_ns() - T - Ms * 1000000) div 10000,
                 counters:add(H, max(1, min(NB, L + 1)), 1);
            _ -> ok
        end,
        tw(H, On, NB, X)
    end.
q([X | R], Lim, Acc, I) when Acc + X < Lim, R =/= [] -> q(R, Lim, Acc + X, I + 1);
q(_, _, _, I) -> I.
yl(C, 100) -> counters:add(C, 1, 100), yl(C, 0);
yl(C, I) -> erlang:yield(), yl(C, I + 1).
pp(C, 100) -> counters:add(C, 1, 100), pp(C, 0);
pp(C, I) -> receive {P, m} -> P ! {self(), m}, pp(C, I + 1) end.
eat(0) -> ok;
eat(N) -> receive m -> eat(N - 1) end.
feed(_, 0) -> ok;
feed(P, N) -> P ! m, feed(P, N - 1).
spin(1000, _) -> ok;
spin(I, A) -> spin(I + 1, A + I).
hog(T0, Secs) -> spin(0, 0), case now_ns() - T0 > Secs of true -> ok; false -> hog(T0, Secs) end.
tick(_, 0, L, _, _, Me) -> Me ! {lat, L};
tick(N0, K, L, Hog, Secs, Me) ->
    Nxt = N0 + 10000000,
    W = Nxt - now_ns(),
    if W > 0 -> receive after (W + 500000) div 1000000 -> ok end; true -> ok end,
    T = now_ns(), H = atomics:get(Hog, 1),
    L2 = if H =/= 0, Nxt >= H, Nxt =< H + Secs -> [{T - Nxt, T} | L]; true -> L end,
    tick(Nxt, K - 1, L2, Hog, Secs, Me).
