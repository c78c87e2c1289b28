package customdriver

import (
	"bytes"
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

//go:embed host.sh
var script string

// Shell has a script run by a POSIX shell on a host and returns what it has written to its standard output. An error that is
// hypervisor.ErrUnavailable says that nothing of it has been run; after any other all of it may have been, and may still be.
type Shell func(ctx context.Context, script []byte) ([]byte, error)

// Command is a Shell that gives the script to the standard input of a program, such as sh, or ssh with a host and sh.
func Command(program string, args ...string) Shell {
	return func(ctx context.Context, script []byte) ([]byte, error) {
		ctx, kill := context.WithCancel(ctx)
		defer kill()
		cmd := exec.CommandContext(ctx, program, args...) // #nosec G204 -- of whoever makes the driver; what comes from elsewhere is on its standard input
		cmd.Stdin = bytes.NewReader(script)
		cmd.WaitDelay = time.Second
		out, said := &bounded{most: 16 << 20, over: kill}, &bounded{most: 64 << 10, over: kill}
		cmd.Stdout, cmd.Stderr = out, said
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("%w: %w", hypervisor.ErrUnavailable, err)
		}
		if err := cmd.Wait(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", program, err, pool.Quote(said.buf.String()))
		}
		return out.buf.Bytes(), nil
	}
}

// bounded is a buffer that refuses to grow without end: what is on the other side may be broken.
type bounded struct {
	buf  bytes.Buffer
	most int
	over func()
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.most {
		b.over()
		return 0, errors.New("more output than can be right")
	}
	return b.buf.Write(p)
}

// request is what a host is asked for; its fields are the arguments of host.sh.
type request struct {
	op    string
	r     hypervisor.Ref // of a machine, or of the host alone
	spec  string
	arg   string    // the image, or the signal
	until time.Time // when it is too late
}

// call makes a request and returns the lines of the reply, divided into fields.
func (h *host) call(ctx context.Context, q request) ([][]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed(q.op, q.r, nil, err)
	}
	if !q.looks() {
		if err := pool.ValidName(string(q.r.Machine)); err != nil { // it becomes a part of paths
			return nil, failed(q.op, q.r, hypervisor.ErrInvalid, pool.InField("machine", err))
		}
	}
	tag, err := tagText(q.r.Tag)
	if err != nil {
		return nil, failed(q.op, q.r, hypervisor.ErrInvalid, err)
	}
	text := script + "\nmain"
	for _, arg := range []string{q.op, h.config.Dir, string(q.r.Machine), tag, q.spec, q.arg, strconv.FormatInt(q.until.Unix(), 10)} {
		text += " '" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	reply, err := h.config.Shell(ctx, []byte(text+"\n"))
	if err == nil {
		lines, end, why := parse(reply)
		kind, whole := ends()[end]
		switch {
		case whole && kind == nil:
			return lines, nil
		case whole:
			return nil, failed(q.op, q.r, kind, errors.New(pool.Quote(why)))
		}
		err = errors.New("the reply is not whole")
	}
	return nil, failed(q.op, q.r, q.doubt(err), errors.Join(ctx.Err(), err))
}

// looks reports whether a request is about a whole host, and changes nothing.
func (q request) looks() bool { return slices.Contains([]string{"host", "machines", "sample"}, q.op) }

// doubt is the kind of an error that leaves open what has become of a request.
func (q request) doubt(err error) error {
	if errors.Is(err, hypervisor.ErrUnavailable) || q.looks() {
		return hypervisor.ErrUnavailable // nothing was sent, or nothing that changes anything
	}
	return hypervisor.ErrUnknown
}

// parse divides a reply into its lines, and says what the last one does: how the request ended, and why. Where that line is
// missing the reply is not whole, whatever else it says.
func parse(reply []byte) (lines [][]string, end, why string) {
	for line := range strings.Lines(string(reply)) {
		whole, ok := strings.CutSuffix(line, "\n")
		fields := strings.Split(whole, "\t")
		if ok && len(fields) == 3 && fields[0] == "end" {
			return lines, fields[1], fields[2]
		}
		lines = append(lines, fields)
	}
	return nil, "", ""
}

// ends is what the last line of a reply may say.
func ends() map[string]error {
	return map[string]error{
		"ok": nil, "not-found": hypervisor.ErrNotFound, "exists": hypervisor.ErrExists, "foreign": hypervisor.ErrForeign,
		"refused": hypervisor.ErrRefused, "invalid": hypervisor.ErrInvalid, "wrong-power": hypervisor.ErrWrongPower,
		"unavailable": hypervisor.ErrUnavailable, "unknown": hypervisor.ErrUnknown,
	}
}

// failed says which call failed, of what kind, and why.
func failed(op string, r hypervisor.Ref, kind, why error) error {
	return &hypervisor.Error{Op: op, Host: r.Host, Machine: r.Machine, Kind: kind, Cause: why}
}
