package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// vitals is what a guest says of itself on its serial console.
type vitals struct {
	boot   string  // an id that its kernel made when it booted
	uptime float64 // seconds
	at     time.Time
	tty    string // of its console
}

// console finds the terminal of a guest's serial console, which goes on working while its libvirtd is away.
func console(ctx context.Context, l *testbed.Libvirtd, domain string) (tty string, err error) {
	out, err := l.Virsh(ctx, "ttyconsole", domain)
	if tty = testbed.LastLine(out); err == nil && !strings.HasPrefix(tty, "/dev/") {
		err = fmt.Errorf("%s has no console: %q", domain, out)
	}
	return tty, err
}

// typed types a command into the shell on a console and returns what is shown until it has succeeded. It fails when that takes too long,
// as it does while the guest still boots.
func typed(tty, command string) (string, error) {
	f, err := os.OpenFile(tty, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := f.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	// The end is one that no other command has, as an earlier one may have been given up and answer now; and what is looked for is never in the
	// line as it is typed, which is shown too.
	end := strconv.FormatInt(time.Now().UnixNano(), 36)
	if _, err := io.WriteString(f, "\n"+command+" && echo end\\ "+end+"\n"); err != nil {
		return "", err
	}
	var out strings.Builder
	buf := make([]byte, 4<<10)
	for !strings.Contains(out.String(), "end "+end) {
		n, err := f.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			return out.String(), fmt.Errorf("%w; it has shown %q", err, out.String())
		}
	}
	return out.String(), nil
}

// alive asks a guest for its vitals.
func alive(tty string) (vitals, error) {
	out, err := typed(tty, "echo id=$(cat /proc/sys/kernel/random/boot_id) up=$(cut -d' ' -f1 /proc/uptime)")
	if err != nil {
		return vitals{}, err
	}
	return readVitals(tty, out, time.Now())
}

func readVitals(tty, shown string, at time.Time) (vitals, error) {
	all := regexp.MustCompile(`id=([0-9a-f-]{36}) up=([0-9]+\.[0-9]+)`).FindAllStringSubmatch(shown, -1)
	if all == nil {
		return vitals{}, fmt.Errorf("the guest has shown %q", shown)
	}
	m := all[len(all)-1]
	up, err := strconv.ParseFloat(m[2], 64)
	return vitals{boot: m[1], uptime: up, at: at, tty: tty}, err
}

// awake waits until the guests of a libvirt host answer, and returns what they say, by their names.
func awake(ctx context.Context, l *testbed.Libvirtd, names []string) (map[string]vitals, error) {
	out := make(map[string]vitals)
	err := until(ctx, 8*time.Minute, "guests answer on their consoles", func(ctx context.Context) (string, error) {
		there, err := domains(ctx, l)
		if err != nil {
			return "", err
		}
		for _, name := range names {
			if _, ok := out[name]; ok {
				continue
			}
			if there[name] == "" {
				return "", errors.New("no domain of " + name)
			}
			tty, err := console(ctx, l, there[name])
			if err != nil {
				return "", err
			}
			v, err := alive(tty)
			if err != nil {
				return name + ": " + err.Error(), nil
			}
			out[name] = v
		}
		return "", nil
	})
	return out, err
}

// goesOn returns an error unless a guest is the one that it was, with an uptime that has gone on: it has not booted in between.
func goesOn(name string, was, is vitals) error {
	switch {
	case is.boot != was.boot:
		return fmt.Errorf("%s has booted: its boot id was %s and is %s", name, was.boot, is.boot)
	case is.uptime <= was.uptime:
		return fmt.Errorf("%s: its uptime was %.2f s and is %.2f s", name, was.uptime, is.uptime)
	}
	return nil
}

// The disk on which the guest's own system lies keeps a mark until it is made anew.
const (
	mounted = "mkdir -p /run/mark && mount -t ext4 $(findfs LABEL=berthage-boot) /run/mark && "
	mark    = mounted + `echo mark\ kept >/run/mark/mark && sync && umount /run/mark`
	marked  = mounted + `(cat /run/mark/mark || echo no\ mark) 2>/dev/null; umount /run/mark`
)
