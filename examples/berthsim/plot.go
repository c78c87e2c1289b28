package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// bar is one line of a bar chart.
type bar struct {
	name  string
	value float64
	note  string // written behind the bar
}

// draw is the result as a picture: by how much each way of packing exceeds what is possible at all.
func (r *staticResult) draw() []byte {
	above := func(hosts int64) float64 {
		if r.LP <= 0 {
			return 0
		}
		return (float64(hosts)/r.LP - 1) * 100
	}
	note := func(hosts int64) string { return fmt.Sprintf("+%.2f %%  (%d hosts)", above(hosts), hosts) }
	bars := []bar{
		{"online, by worth", above(int64(r.Online)), note(int64(r.Online))},
		{"online, best-fit", above(int64(r.BestFit)), note(int64(r.BestFit))},
		{"best-fit decreasing", above(int64(r.Decreasing)), note(int64(r.Decreasing))},
		{"plan", above(r.Plan), note(r.Plan)},
	}
	return barChart(
		fmt.Sprintf("Hosts of %g cores and %g GiB for %d VMs", r.HostCPU, r.HostMem, r.Sample),
		fmt.Sprintf("%s, seed %d; in per cent above the certified LP bound of %.2f hosts", r.Trace, r.Seed, r.LP), bars)
}

// barChart draws horizontal bars from zero, as SVG.
func barChart(title, subtitle string, bars []bar) []byte {
	const left, width, right, top, pitch, thick = 170, 420, 190, 70, 40, 24
	most := 0.0
	for _, b := range bars {
		most = max(most, b.value)
	}
	step := tick(most)
	scale := max(step, math.Ceil(most/step)*step)
	bottom := top + pitch*len(bars)
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="14" role="img">`+"\n",
		left+width+right, bottom+40)
	fmt.Fprintf(&out, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", html.EscapeString(title))
	fmt.Fprintf(&out, `<text x="16" y="26" font-size="17" font-weight="bold">%s</text>`+"\n", html.EscapeString(title))
	fmt.Fprintf(&out, `<text x="16" y="48" fill="#555">%s</text>`+"\n", html.EscapeString(subtitle))
	for v := 0.0; v <= scale+step/2; v += step {
		x := left + v/scale*width
		fmt.Fprintf(&out, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/>`, x, x, top-4, bottom)
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%.3g %%</text>`+"\n", x, bottom+20, v)
	}
	for i, b := range bars {
		y := top + pitch*i
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-10, y+thick-7, html.EscapeString(b.name))
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="#2b6cb0"/>`, left, y, max(1, b.value/scale*width), thick)
		fmt.Fprintf(&out, `<text x="%.1f" y="%d">%s</text>`+"\n", left+b.value/scale*width+8, y+thick-7, html.EscapeString(b.note))
	}
	fmt.Fprintf(&out, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#333"/>`+"\n</svg>\n", left, left, top-4, bottom)
	return out.Bytes()
}

// tick is a round step of which four to ten reach a value.
func tick(most float64) float64 {
	if most <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{0.1, 0.2, 0.25, 0.5} {
		if most/(step*f) <= 7 {
			return step * f
		}
	}
	return step
}
