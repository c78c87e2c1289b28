package api

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/whatif"
)

// Bounds of replays: how many are kept in memory, and how long one may take. One runs at a time.
const (
	keptReplays = 16
	mostReplay  = 30 * time.Minute
)

// ReplayBody asks how a stretch of the past would have been.
type ReplayBody struct {
	From      time.Time          `json:"from,omitzero" doc:"The beginning; absent: that of the ledger"`
	Until     time.Time          `json:"until,omitzero" doc:"The end; absent: now"`
	Lose      []string           `json:"lose,omitempty" maxItems:"1000" doc:"Hosts that are gone at the beginning, with what is on them"`
	LoseZones []string           `json:"lose_zones,omitempty" maxItems:"100" doc:"All hosts of these zones too"`
	Add       []AddHosts         `json:"add,omitempty" maxItems:"100" doc:"Hosts that are there besides"`
	Ratios    map[string]float64 `json:"ratios,omitempty" doc:"Over-commit ratios of all servers, per class"`
	Policy    string             `json:"policy,omitempty" enum:"default,best-fit,spread,fgd" doc:"That places on the changed fleet; absent: the daemon's own"`
}

// Replay is a stretch of the past that happens again.
type Replay struct {
	ID       string         `json:"id"`
	State    string         `json:"state" enum:"running,done,failed" doc:"failed: it could not be ended"`
	Reason   string         `json:"reason,omitempty" doc:"Why it failed"`
	Began    time.Time      `json:"began"`
	Progress ReplayProgress `json:"progress"`
	Result   *Replayed      `json:"result,omitempty" doc:"Once it is done"`
}

// ReplayProgress is how far a replay is.
type ReplayProgress struct {
	At       time.Time `json:"at,omitzero" doc:"The moment in the past at which it is; before from while the books of that moment are being made"`
	Revision int64     `json:"revision"`
}

// Replayed is what a stretch of the past would have been.
type Replayed struct {
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Revision int64     `json:"revision" doc:"The last one that was looked at"`
	Cut      bool      `json:"cut,omitempty" doc:"There was no work left for the rest"`
	Came     int       `json:"came" doc:"Instances that were given a place, as recorded"`
	Went     int       `json:"went" doc:"That gave theirs back"`
	Same     ReplayRun `json:"same" doc:"On the fleet as it was, placed anew"`
	Changed  ReplayRun `json:"changed" doc:"On the changed fleet, by the changed policy"`
}

// ReplayRun is what it would have been on one fleet.
type ReplayRun struct {
	Refused   int                   `json:"refused" doc:"Instances that find no place, in all"`
	Displaced Outcome               `json:"displaced" doc:"Instances of hosts that are lost, or were removed"`
	Launched  Outcome               `json:"launched" doc:"Instances that were given a place"`
	Resized   Outcome               `json:"resized" doc:"Instances that were given other sizes; those refused keep the old ones"`
	Peak      map[string]ReplayPeak `json:"peak" doc:"The most that was used, per class"`
	Hosts     float64               `json:"hosts" doc:"Servers in use on average"`
	MostHosts int                   `json:"most_hosts" doc:"And at most"`
}

// ReplayPeak is the most that was used of a class.
type ReplayPeak struct {
	Used     int64     `json:"used"`
	Capacity int64     `json:"capacity" doc:"Of all hosts at that moment"`
	At       time.Time `json:"at"`
}

// replays are those that people have asked for, in memory.
type replays struct {
	mu      sync.Mutex
	list    []*keptReplay // the oldest first
	running bool
}

type keptReplay struct {
	show Replay
	stop context.CancelFunc
}

// find returns the index of a replay; it is called under the lock.
func (r *replays) find(id string) (int, error) {
	at := slices.IndexFunc(r.list, func(k *keptReplay) bool { return k.show.ID == id })
	if at >= 0 {
		return at, nil
	}
	n := problem.NotFound.New("there is no such replay, or it is no longer kept")
	n.Field, n.Want = "id", "a replay that this daemon has begun since its start"
	return at, n
}

type replayOutput struct {
	Location string `header:"Location" doc:"Path of the replay"`
	Body     Replay
}

type replayPath struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the replay"`
}

func replayed(r *whatif.Replayed) *Replayed {
	run := func(r *whatif.Run) ReplayRun {
		out := ReplayRun{
			Refused: r.Refused(), Displaced: outcome(r.Displaced), Launched: outcome(r.Launched), Resized: outcome(r.Resized),
			Peak: make(map[string]ReplayPeak), Hosts: r.Hosts, MostHosts: r.Most,
		}
		for c, p := range r.Peak {
			out.Peak[string(c)] = ReplayPeak(p)
		}
		return out
	}
	return &Replayed{
		From: r.From, Until: r.Until, Revision: int64(r.Revision), Cut: r.Cut, Came: r.Came, Went: r.Went, Same: run(&r.Same), Changed: run(&r.Changed),
	}
}

func (a *api) registerReplays() {
	from := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	op := describe("replay", http.MethodPost, "/replays", "Plans", "Let a stretch of the past happen again",
		"What was given a place in it is placed anew, at the same moments, on the fleet as it was and on a changed one, or by another policy: how many would have been refused and why, the most that would have been used, and how many hosts on average. "+
			"Hosts are those of the beginning. What was refused then left no trace and is not asked for again; moves and evacuations are not made again. It runs by itself; ask for it to see how far it is. One runs at a time (503).")
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Plans, auth.Create), nowhere, withExample(op, ReplayBody{From: from, Until: from.Add(24 * time.Hour), Policy: "spread"}), func(ctx context.Context, in *struct{ Body ReplayBody }) (*replayOutput, error) {
		w := WhatIfBody{Lose: in.Body.Lose, LoseZones: in.Body.LoseZones, Add: in.Body.Add, Ratios: in.Body.Ratios}
		q, _, err := w.question()
		if err != nil {
			return nil, problem.OfBody(err)
		}
		o := whatif.ReplayOptions{}
		if in.Body.Policy != "" {
			o.Scheduler = &scheduler.Scheduler{CostWeight: a.c.CostWeight}
			if err := o.Scheduler.Strategy.UnmarshalText([]byte(in.Body.Policy)); err != nil {
				return nil, problem.OfBody(pool.InField("policy", err))
			}
		}
		if in.Body.From.After(time.Now()) || !in.Body.Until.IsZero() && !in.Body.Until.After(in.Body.From) {
			return nil, problem.OfBody(&pool.Error{Kind: pool.ErrInvalid, Field: "until", Want: "a moment after from, and from one that is past"})
		}
		return a.beginReplay(ctx, &in.Body, q, o)
	})
	register(a, reads(auth.Plans), nowhere, describe("get-replay", http.MethodGet, "/replays/{id}", "Plans", "Get a replay", "How far it is, and what it found. The daemon keeps its last ones in memory.", 404),
		func(_ context.Context, in *replayPath) (*replayOutput, error) {
			a.replays.mu.Lock()
			defer a.replays.mu.Unlock()
			at, err := a.replays.find(in.ID)
			if err != nil {
				return nil, err
			}
			return &replayOutput{Body: a.replays.list[at].show}, nil
		})
	register(a, may(auth.Plans, auth.Delete), nowhere, describe("delete-replay", http.MethodDelete, "/replays/{id}", "Plans", "Call a replay off", "Ends it, if it runs, and forgets it.", 404),
		func(_ context.Context, in *replayPath) (*struct{}, error) {
			a.replays.mu.Lock()
			defer a.replays.mu.Unlock()
			at, err := a.replays.find(in.ID)
			if err != nil {
				return nil, err
			}
			a.replays.list[at].stop()
			a.replays.list = slices.Delete(a.replays.list, at, at+1)
			return nil, nil
		})
}

func (a *api) beginReplay(ctx context.Context, b *ReplayBody, q whatif.Question, o whatif.ReplayOptions) (*replayOutput, error) {
	r := &a.replays
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		p := problem.Unavailable.New("another replay runs")
		p.RetryAfter = 10
		return nil, p
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), mostReplay, &pool.Error{Kind: pool.ErrInvalid, Field: "from", Want: "a stretch that can be replayed within " + mostReplay.String()})
	k := &keptReplay{stop: cancel, show: Replay{ID: rand.Text(), State: "running", Began: time.Now().UTC()}}
	r.running = true
	if r.list = append(r.list, k); len(r.list) > keptReplays {
		r.list = slices.Delete(r.list, 0, 1) // none of which runs but the last
	}
	o.Told = func(p whatif.Progress) {
		r.mu.Lock()
		defer r.mu.Unlock()
		k.show.Progress = ReplayProgress{At: p.At, Revision: int64(p.Revision)}
	}
	go func() {
		select {
		case <-a.c.Drain:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer cancel()
		got, err := a.c.Manager.Replay(ctx, b.From, b.Until, q, o)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.running = false
		if err != nil {
			k.show.State, k.show.Reason = "failed", problem.From(err).Detail
			return
		}
		k.show.State, k.show.Result = "done", replayed(got)
	}()
	return &replayOutput{Location: prefix + "/replays/" + k.show.ID, Body: k.show}, nil
}
