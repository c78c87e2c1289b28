package pvetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// task is a worker of the cluster.
type task struct {
	upid, node, kind, id, user, token string
	pid, pstart                       int
	start, end                        time.Time
	exit                              string // empty: it is running
	log                               []string
	stopped                           bool   // by request
	cleanup                           func() // what a worker that fails does
}

// work starts a task and returns its id. do is called when its time has come; what it returns is the exit status.
func (c *call) work(node, kind, id string, do func(t *task) error) string {
	return c.workFor(c.s.cfg.TaskTime, node, kind, id, do)
}

func (c *call) workFor(long time.Duration, node, kind, id string, do func(t *task) error) string {
	s := c.s
	s.pids++
	now := time.Now()
	t := &task{node: node, kind: kind, id: id, pid: s.pids, pstart: int(now.UnixMilli() / 10 & 0xffffff), start: now}
	t.user, t.token, _ = strings.Cut(c.user, "!")
	t.upid = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", node, t.pid, t.pstart, now.Unix(), kind, id, c.user)
	s.tasks[t.upid] = t
	fails := s.taskFault(kind)
	if fails.Delay > 0 {
		long = fails.Delay
	}
	s.timers.Add(1)
	time.AfterFunc(long, func() {
		defer s.timers.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		var err error
		switch {
		case t.stopped:
			err = no("interrupted by signal")
		case fails.TaskFails != "":
			err = no("%s", fails.TaskFails)
		default:
			err = do(t)
		}
		if err != nil && t.cleanup != nil {
			t.cleanup()
		}
		t.finish(err, fails.Warnings)
	})
	return t.upid
}

func (t *task) finish(err error, warnings int) {
	t.end = time.Now()
	switch {
	case err != nil:
		t.exit = err.Error()
		t.log = append(t.log, "TASK ERROR: "+t.exit)
	case warnings > 0:
		t.exit = "WARNINGS: " + strconv.Itoa(warnings)
		t.log = append(t.log, "TASK "+t.exit)
	default:
		t.exit = "OK"
		t.log = append(t.log, "TASK OK")
	}
}

func (t *task) say(format string, args ...any) { t.log = append(t.log, fmt.Sprintf(format, args...)) }

// upidForm is what the id of a task looks like.
const upidForm = `^UPID:[^:]+:[0-9A-F]{8}:[0-9A-F]{8,}:[0-9A-F]{8}:[^:]+:[^:]*:[^:]+:$`

func (c *call) task() (*task, error) {
	id := c.params["upid"]
	if !like(id, upidForm) {
		return nil, badField("upid", "unable to parse worker upid")
	}
	t := c.s.tasks[id]
	if t == nil {
		return nil, badField("upid", "no such task")
	}
	if owner, _, _ := strings.Cut(c.user, "!"); owner != t.user && !c.who.may("/nodes/"+t.node, "Sys.Audit") {
		return nil, &apiError{status: 403, text: fmt.Sprintf("Permission check failed (/nodes/%s, Sys.Audit)", t.node)}
	}
	return t, nil
}

func (t *task) show() map[string]any {
	out := map[string]any{
		"upid": t.upid, "node": t.node, "pid": t.pid, "pstart": t.pstart, "starttime": t.start.Unix(),
		"type": t.kind, "id": t.id, "user": t.user, "status": "running",
	}
	if t.token != "" {
		out["tokenid"] = t.token
	}
	return out
}

func (s *Server) taskStatus(c *call) (any, error) {
	t, err := c.task()
	if err != nil {
		return nil, err
	}
	out := t.show()
	if t.exit != "" {
		out["status"], out["exitstatus"] = "stopped", t.exit
	}
	return out, nil
}

func (s *Server) taskLog(c *call) (any, error) {
	t, err := c.task()
	if err != nil {
		return nil, err
	}
	lines := []map[string]any{}
	for i, l := range t.log {
		lines = append(lines, map[string]any{"n": i + 1, "t": l})
	}
	return listed{lines, len(lines)}, nil
}

func (s *Server) taskStop(c *call) (any, error) {
	t, err := c.task()
	if err != nil {
		return nil, err
	}
	t.stopped = true
	return nil, nil
}

// taskList lists the tasks that have ended, the newest first.
func (s *Server) taskList(c *call) (any, error) {
	all := []*task{}
	for _, t := range s.tasks {
		if t.exit != "" && (c.params["node"] == "" || c.params["node"] == t.node) {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *task) int { return b.pid - a.pid })
	out := []map[string]any{}
	for _, t := range all {
		m := t.show()
		m["endtime"], m["status"] = t.end.Unix(), t.exit
		if c.params["node"] == "" {
			m["saved"] = "1"
			delete(m, "pid")
			delete(m, "pstart")
		}
		out = append(out, m)
	}
	if c.params["node"] == "" {
		return out, nil
	}
	return listed{out, len(out)}, nil
}
