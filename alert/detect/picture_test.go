package detect_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// update is a flag of go test, not state.
var update = flag.Bool("update", false, "draw docs/anomalies.svg anew")

// drawn is a part of a series with its verdicts.
type drawn struct {
	title string
	from  time.Time
	shown []shownSample
}

type shownSample struct {
	at time.Time
	v  float64
	r  detect.Verdict
}

// judged shows a method a series and keeps what comes from a day on.
func judged(t *testing.T, title string, m detect.Method, vs []float64, from int) drawn {
	t.Helper()
	d := detector(t, m)
	out := drawn{title: title, from: start().AddDate(0, 0, from)}
	for i, v := range vs {
		at := start().Add(time.Duration(i) * 5 * time.Minute)
		if r := d.Observe(at, v); !at.Before(out.from) {
			out.shown = append(out.shown, shownSample{at, v, r})
		}
	}
	return out
}

const (
	left, width   = 60.0, 800.0
	panel, height = 260.0, 170.0
)

// draw makes a picture of the panels: the band, the values, and a dot on what is outside.
func draw(title string, panels []drawn, low, high float64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="13" role="img">`+"\n",
		left+width+30, 50+panel*float64(len(panels)))
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", title)
	fmt.Fprintf(&b, `<text x="16" y="26" font-size="17" font-weight="bold">%s</text>`+"\n", title)
	for i, p := range panels {
		top := 80 + panel*float64(i)
		whole := p.shown[len(p.shown)-1].at.Sub(p.from)
		x := func(at time.Time) float64 { return left + width*float64(at.Sub(p.from))/float64(whole) }
		y := func(v float64) float64 { return top + height*(1-(min(max(v, low), high)-low)/(high-low)) }
		fmt.Fprintf(&b, `<text x="%g" y="%g" fill="#333">%s</text>`+"\n", left, top-12, p.title)
		for v := low; v <= high; v += 20 {
			fmt.Fprintf(&b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="#e5e5e5"/><text x="%g" y="%.1f" text-anchor="end" fill="#555">%g</text>`+"\n",
				left, left+width, y(v), y(v), left-8, y(v)+4, v)
		}
		for at := p.from; at.Sub(p.from) <= whole; at = at.AddDate(0, 0, 1) {
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke="#e5e5e5"/><text x="%.1f" y="%g" fill="#555">%s</text>`+"\n",
				x(at), x(at), top, top+height, x(at)+3, top+height+16, at.Format("Mon"))
		}
		b.WriteString(`<path fill="#2b6cb0" fill-opacity="0.18" d="`)
		command := 'M'
		for _, s := range p.shown {
			fmt.Fprintf(&b, "%c%.1f %.1f", command, x(s.at), y(s.r.High))
			command = 'L'
		}
		for i := range p.shown {
			s := p.shown[len(p.shown)-1-i]
			fmt.Fprintf(&b, "L%.1f %.1f", x(s.at), y(s.r.Low))
		}
		b.WriteString("Z\"/>\n" + `<path fill="none" stroke="#333" stroke-width="1" d="`)
		command = 'M'
		for _, s := range p.shown {
			fmt.Fprintf(&b, "%c%.1f %.1f", command, x(s.at), y(s.v))
			command = 'L'
		}
		b.WriteString("\"/>\n")
		for _, s := range p.shown {
			if s.r.Outside {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="#c53030"/>`+"\n", x(s.at), y(s.v))
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// docs/anomalies.svg is what the code draws; -update draws it.
func TestPicture(t *testing.T) {
	t.Parallel()
	vs := daily(21, 27*288, 5*time.Minute, 45, 40, 2)
	vs[23*288+40] += 35 // a spike on Wednesday, in the valley
	for i := 24*288 + 60; i < 24*288+180; i++ {
		vs[i] = vs[24*288+60] // a reporter that hangs, on Thursday
	}
	for i := 25*288 + 96; i < 25*288+130; i++ {
		vs[i] = 4 + vs[i]/50 // on Friday nothing comes in
	}
	const from = 22
	panels := []drawn{
		judged(t, "HoltWinters: the forecast of level, trend and the day's season", detect.HoltWinters{}, vs, from),
		judged(t, "Seasonal: the same hour of three weeks", detect.Seasonal{}, vs, from),
		judged(t, "RobustZ of a day: far from the median", detect.RobustZ{Window: 288}, vs, from),
	}
	for i, p := range panels {
		found := map[time.Weekday]int{}
		for _, s := range p.shown {
			if s.r.Outside {
				found[s.at.Weekday()]++
			}
		}
		if i < 2 {
			require.Equal(t, 1, found[time.Wednesday], "%s: %v", p.title, found)
			require.Greater(t, found[time.Thursday], 20, "%s: %v", p.title, found)
			require.Greater(t, found[time.Friday], 20, "%s: %v", p.title, found)
		} else {
			require.Zero(t, found[time.Wednesday], "to a median of the whole day the spike is an ordinary noon")
		}
	}
	got := draw("Utilization in per cent: a spike, a reporter that hangs, nothing comes in", panels, 0, 100)
	const file = "../../docs/anomalies.svg"
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "docs/anomalies.svg is not what is drawn: go test ./alert/detect -run TestPicture -update")
}
