package notifytest

import (
	"errors"
	"testing"

	"github.com/berthage/berthage/notify"
)

// Fuzz sends messages whose names, labels and texts are anything at all to the fake: each is delivered harmless or refused for good.
func Fuzz(f *testing.F, s Setup) {
	for _, h := range Hostile() {
		if len(h) < 1000 {
			for i := range HostileMessages(h) {
				f.Add(h, uint8(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, h string, field uint8) {
		p := &probe{Setup: s, ctx: t.Context()}
		g := p.open(notify.ClientConfig{})
		defer g.close()
		messages := HostileMessages(h)
		err := p.send(g, messages[int(field)%len(messages)])
		if err != nil && (!notify.Permanent(err) || errors.Is(err, notify.ErrBroken)) {
			t.Fatal(err)
		}
		for _, h := range append(g.service.Harm(), p.faults...) {
			t.Errorf("%.1000s", h)
		}
	})
}
