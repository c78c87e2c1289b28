// Package metrics writes what berthd knows about itself and its pool in the text format of Prometheus,
// version 0.0.4. Names follow the conventions: base units, _total for counters only.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/examples/berthd/ledger"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/notify/delivery"
	"github.com/berthage/berthage/pool"
)

// buckets are the upper bounds of the histogram of durations in seconds.
func buckets() []float64 { return []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10} }

// Metrics counts requests and writes the exposition. It is safe for concurrent use.
type Metrics struct {
	manager *berthage.Manager
	version string
	began   time.Time
	bounds  []float64

	mu       sync.Mutex
	requests map[request]int64
	took     map[string]*histogram      // by route
	backups  func() ledger.BackupStatus // nil: none are written
	history  func() history.Status      // nil: none is kept
	heads    func() trail.HeadsStatus   // nil: none are signed by themselves
}

type request struct {
	method, route string
	code          int
}

type histogram struct {
	counts []int64 // by bucket, not cumulative
	sum    float64
	n      int64
}

// New returns Metrics of a Manager.
func New(m *berthage.Manager, version string) *Metrics {
	return &Metrics{manager: m, version: version, began: time.Now(), bounds: buckets(), requests: make(map[request]int64), took: make(map[string]*histogram)}
}

// Backups has the status of backups written too. It is called before anything is written.
func (m *Metrics) Backups(status func() ledger.BackupStatus) { m.backups = status }

// Heads has the status of signed heads written too. It is called before anything is written.
func (m *Metrics) Heads(status func() trail.HeadsStatus) { m.heads = status }

// History has the status of the history written too. It is called before anything is written.
func (m *Metrics) History(status func() history.Status) { m.history = status }

// Observe implements edge.Observer. Requests that matched no route count under one name, so that callers
// cannot make series.
func (m *Metrics) Observe(method, pattern string, status int, took time.Duration) {
	route := pattern
	if _, path, ok := strings.Cut(pattern, " "); ok {
		route = path
	}
	if route == "" {
		route, method = "none", "any"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[request{method, route, status}]++
	h := m.took[route]
	if h == nil {
		h = &histogram{counts: make([]int64, len(m.bounds)+1)}
		m.took[route] = h
	}
	s := took.Seconds()
	i, _ := slices.BinarySearch(m.bounds, s)
	h.counts[i]++
	h.sum += s
	h.n++
}

// ServeHTTP writes all metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = m.Write(w) // a scraper that is gone needs no answer
}

// writer writes families.
type writer struct{ *bufio.Writer }

func (w writer) family(name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// value writes a sample; labels are pairs.
func (w writer) value(name string, v float64, labels ...string) {
	w.WriteString(name) //nolint:errcheck // Flush tells
	for i := 0; i+1 < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(w, `%s%s="%s"`, sep, labels[i], escape(labels[i+1]))
	}
	if len(labels) > 0 {
		w.WriteByte('}') //nolint:errcheck // Flush tells
	}
	fmt.Fprintf(w, " %s\n", strconv.FormatFloat(v, 'g', -1, 64))
}

// gauge writes a family of one sample.
func (w writer) gauge(name, help string, v float64) {
	w.family(name, "gauge", help)
	w.value(name, v)
}

// escape escapes a label's value as the format wants it.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(s)
}

// Write writes all metrics.
func (m *Metrics) Write(out io.Writer) error {
	w := writer{bufio.NewWriter(out)}
	m.pool(w)
	m.clusters(w)
	m.messages(w)
	m.self(w)
	m.http(w)
	return w.Flush()
}

func (m *Metrics) pool(w writer) {
	var totals map[pool.Class]pool.Sum
	conditions, instances := make(map[string]float64), make(map[string]float64)
	hosts, schedulable, held := 0.0, 0.0, 0.0
	for _, s := range statuses() {
		instances[s] = 0
	}
	for _, c := range (pool.Ready | pool.Cordoned | pool.Draining | pool.Unreachable | pool.Fenced).Names() {
		conditions[c] = 0
	}
	m.manager.View(func(st *pool.State) {
		totals = st.Totals()
		for h := range st.Hosts() {
			for _, c := range h.Conditions.Names() {
				conditions[c]++
			}
			if h.Conditions.Schedulable() {
				schedulable++
			}
			hosts++
		}
		for i := range st.Instances() {
			instances[i.Status()]++
		}
		for range st.Held() {
			held++
		}
	})
	classes := slices.Sorted(maps.Keys(totals))
	for _, f := range []struct {
		name, help string
		of         func(pool.Sum) int64
	}{
		{"physical", "physically there", func(s pool.Sum) int64 { return s.Total }},
		{"reserved", "used by the hosts themselves and by others", func(s pool.Sum) int64 { return s.Reserved }},
		{"capacity", "what allocations may take, over-commit included", func(s pool.Sum) int64 { return s.Capacity }},
		{"used", "what allocations take", func(s pool.Sum) int64 { return s.Used }},
		{"free", "capacity not taken", func(s pool.Sum) int64 { return s.Free }},
		{"available", "capacity not taken on hosts that accept instances", func(s pool.Sum) int64 { return s.Available }},
		{"overcommitted", "taken beyond what is physically there", func(s pool.Sum) int64 { return s.Overcommitted }},
	} {
		name := "berthage_pool_" + f.name
		w.family(name, "gauge", "Resources of the pool, "+f.help+", by class in the unit that is told.")
		for _, c := range classes {
			unit, scale := unitOf(c)
			w.value(name, float64(f.of(totals[c]))/scale, "class", string(c), "unit", unit)
		}
	}
	w.gauge("berthage_hosts", "Hosts in the pool.", hosts)
	w.gauge("berthage_schedulable_hosts", "Hosts that take new instances.", schedulable)
	w.family("berthage_host_conditions", "gauge", "Hosts by condition; a host can have several.")
	for _, c := range slices.Sorted(maps.Keys(conditions)) {
		w.value("berthage_host_conditions", conditions[c], "condition", c)
	}
	w.family("berthage_instances", "gauge", "Instances by status.")
	for _, s := range slices.Sorted(maps.Keys(instances)) {
		w.value("berthage_instances", instances[s], "status", s)
	}
	w.gauge("berthage_held_allocations", "Allocations kept for machines that may still appear.", held)
}

// clusters writes how far the last command of each cluster has come.
func (m *Metrics) clusters(w writer) {
	var ids []pool.ClusterID
	m.manager.View(func(st *pool.State) {
		for c := range st.Clusters() {
			ids = append(ids, c.ID)
		}
	})
	slices.Sort(ids)
	w.gauge("berthage_clusters", "Clusters.", float64(len(ids)))
	w.family("berthage_cluster_members", "gauge", "Members of clusters by the outcome of the cluster's last command; those that were not placed count as failed.")
	for _, id := range ids {
		c, err := m.manager.Cluster(id)
		if err != nil {
			continue // deleted since
		}
		for _, o := range []struct {
			outcome string
			n       int
		}{{"done", c.Done}, {"failed", c.Failed}, {"pending", c.Pending}, {"skipped", c.Skipped}} {
			w.value("berthage_cluster_members", float64(o.n), "project", id.Project(), "cluster", id.Name(), "outcome", o.outcome)
		}
	}
}

// messages writes how receivers fare.
func (m *Metrics) messages(w writer) {
	all := m.manager.Messages().Receivers()
	w.family("berthage_receiver_messages", "gauge", "Messages to each receiver that wait, and that are not tried again.")
	for _, r := range all {
		w.value("berthage_receiver_messages", float64(r.Waiting), "receiver", r.Name, "status", "waiting")
		w.value("berthage_receiver_messages", float64(r.Dead), "receiver", r.Name, "status", "dead")
	}
	w.family("berthage_receiver_failing", "gauge", "1 when a receiver has not taken the last message, or takes none until somebody has repaired it; of the daemon that leads.")
	for _, r := range all {
		w.value("berthage_receiver_failing", truth(r.State == delivery.Failing || r.State == delivery.Broken), "receiver", r.Name)
	}
}

// statuses are those that an instance can have. Each has a series at all times: one that only appears when
// something is wrong is hard to make an alert of.
func statuses() []string {
	return []string{"building", "undoing", "failed", "deleting", "shelved", "running", "stopped", "suspended", "hibernated", "moving", "resizing", "missing", "broken"}
}

// unitOf returns the unit in which amounts of a class are written, and how many of the pool's make one.
func unitOf(c pool.Class) (unit string, scale float64) {
	switch {
	case c == pool.CPU:
		return "core", float64(pool.Core)
	case c == pool.Memory, strings.HasPrefix(string(c), "storage."):
		return "byte", 1
	case strings.HasPrefix(string(c), "iops."):
		return "operation/second", 1
	}
	return "integer", 1
}

func (m *Metrics) self(w writer) {
	s := m.manager.Status()
	w.gauge("berthage_ledger_revision", "Revision that readers see.", float64(s.Revision))
	w.gauge("berthage_epoch", "How often the lead was taken.", float64(s.Epoch))
	w.gauge("berthage_leader", "1 when this daemon leads.", truth(s.Leading))
	w.gauge("berthage_stale", "1 when this daemon cannot follow the ledger and takes no commands.", truth(s.Stale != ""))
	w.gauge("berthage_unconfirmed", "1 when the ledger was imported and nobody has confirmed that its machines are its own.", truth(s.Unconfirmed))
	if m.backups != nil {
		b := m.backups()
		success := 0.0
		if !b.Success.IsZero() {
			success = float64(b.Success.Unix())
		}
		w.gauge("berthd_backup_last_success_timestamp_seconds", "When the newest backup of the ledger was written; 0: none is there.", success)
		w.gauge("berthd_backup_interval_seconds", "Time between two backups.", b.Every.Seconds())
		w.family("berthd_backup_failures_total", "counter", "Backups that could not be written.")
		w.value("berthd_backup_failures_total", float64(b.Failures))
	}
	if m.heads != nil {
		h := m.heads()
		signed := 0.0
		if h.Last.Size > 0 {
			signed = float64(h.Last.Time.Unix())
		}
		w.gauge("berthd_audit_head_timestamp_seconds", "When the newest kept head of the ledger was signed, the age of which is the time since; 0: none is there.", signed)
		w.gauge("berthd_audit_head_interval_seconds", "Time between two heads while the ledger grows.", h.Every.Seconds())
		w.gauge("berthd_audit_head_revision", "Revision of the newest kept head; what was appended after it is not signed yet.", float64(h.Last.Revision))
		w.gauge("berthd_audit_head_contradicted", "1 when the ledger is not the one of which a head was signed: no head is signed any more.", truth(h.Contradicted))
		w.family("berthd_audit_head_failures_total", "counter", "Heads that could not be signed or kept.")
		w.value("berthd_audit_head_failures_total", float64(h.Failures))
	}
	if m.history != nil {
		h := m.history()
		oldest := 0.0
		if !h.Oldest.IsZero() {
			oldest = float64(h.Oldest.UnixMilli()) / 1000
		}
		w.gauge("berthd_history_series", "Series of the history that are in memory.", float64(h.Series))
		w.gauge("berthd_history_blocks_bytes", "Bytes of the history's blocks on disk.", float64(h.Blocks))
		w.gauge("berthd_history_oldest_timestamp_seconds", "When the oldest sample of the history was taken; 0: there is none.", oldest)
		w.family("berthd_history_samples_total", "counter", "Samples that came in since the start, by what became of them.")
		w.value("berthd_history_samples_total", float64(h.Appended), "outcome", "stored")
		w.value("berthd_history_samples_total", float64(h.Refused), "outcome", "refused")
	}
	w.gauge("berthage_unknown_machines", "Machines on our hosts that are not in the books.", float64(len(m.manager.Unknown())))
	w.family("berthd_build_info", "gauge", "Always 1; the labels tell the version.")
	w.value("berthd_build_info", 1, "version", m.version, "goversion", runtime.Version())
	w.gauge("process_start_time_seconds", "When the daemon was started.", float64(m.began.UnixMilli())/1000)
	w.gauge("go_goroutines", "Goroutines.", float64(runtime.NumGoroutine()))
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	w.gauge("go_memstats_heap_inuse_bytes", "Heap in use.", float64(mem.HeapInuse))
}

func (m *Metrics) http(w writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.family("berthd_http_requests_total", "counter", "Requests by method, route and status code.")
	keys := slices.SortedFunc(maps.Keys(m.requests), func(a, b request) int {
		return strings.Compare(a.route+a.method+strconv.Itoa(a.code), b.route+b.method+strconv.Itoa(b.code))
	})
	for _, k := range keys {
		w.value("berthd_http_requests_total", float64(m.requests[k]), "method", k.method, "route", k.route, "code", strconv.Itoa(k.code))
	}
	const name = "berthd_http_request_duration_seconds"
	w.family(name, "histogram", "Duration of requests by route.")
	for _, route := range slices.Sorted(maps.Keys(m.took)) {
		h, n := m.took[route], int64(0)
		for i, bound := range append(slices.Clone(m.bounds), math.Inf(1)) {
			n += h.counts[i]
			le := "+Inf"
			if !math.IsInf(bound, 1) {
				le = strconv.FormatFloat(bound, 'g', -1, 64)
			}
			w.value(name+"_bucket", float64(n), "route", route, "le", le)
		}
		w.value(name+"_sum", h.sum, "route", route)
		w.value(name+"_count", float64(h.n), "route", route)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
