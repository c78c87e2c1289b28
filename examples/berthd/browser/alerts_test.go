package browser_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/hypervisor/fake"
)

// Somebody makes a rule, sees its alerts come, takes one on, silences another, and removes the rule: by keyboard.
func TestAlertsOnTheirPage(t *testing.T) {
	b := open(t, 1400, 1000)
	d := shaped(t, 3, func(*fake.Config) {}, func(c *config.Config) { c.Alerts = time.Second })
	b.visit(d.SignInLink())
	b.do(chromedp.Navigate(d.URL() + "/alerts"))
	b.until(`document.body.dataset.loaded && document.querySelector("#rules-add")?.offsetParent`)
	require.Contains(t, b.text("#alerts-list .empty"), "Nothing is wrong")

	b.press("#rules-add")
	b.until(`document.querySelector("#confirm").open`)
	b.fill("#rule-name", "HostIsThere")
	b.fill("#rule-body", `{"measure": {"metric": "up"}, "test": {"is": "over", "value": 0}}`)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")`)
	b.fill("#rule-body", `{"measure": {"metric": "up", "matchers": [{"name": "host", "op": "!=", "value": ""}]}, "test": {"is": ">", "value": 0}, "severity": "critical", "annotations": {"summary": "{{ $labels.host }} <b>is</b> there"}}`)
	b.press("#confirm-yes")
	b.until(`document.querySelectorAll('#alerts-list li[data-phase="firing"]').length === 3`)
	require.Equal(t, "1", b.text("#rules-count"))
	require.Contains(t, b.text(`#rules-list [data-name="HostIsThere"] p`), `up{host!=} > 0`)
	require.Contains(t, b.text("#alerts-list li:first-child p"), "<b>is</b> there", "text is text")
	require.Empty(t, eval[[]string](b, unnamed), "everything that can be pressed or filled in has a name")

	const first = "#alerts-list li:first-child"
	id := eval[string](b, `document.querySelector("`+first+`").dataset.id`)
	row := fmt.Sprintf(`#alerts-list li[data-id="%s"]`, id)
	b.press(row + ` [data-verb=acknowledge]`)
	b.until(`document.querySelector("#confirm").open`)
	b.fill("#ack-note", "looking into it")
	b.press("#confirm-yes")
	b.until(fmt.Sprintf(`document.querySelector('%s p')?.textContent.includes("taken on by root: looking into it")`, row))
	b.press(row + ` [data-verb=unacknowledge]`)
	b.until(fmt.Sprintf(`document.querySelector('%s [data-verb=acknowledge]')`, row))
	require.True(t, eval[bool](b, `document.querySelector("#alerts-list").contains(document.activeElement) || document.activeElement === document.body`))

	b.press(row + ` [data-verb=silence]`)
	b.until(`document.querySelector("#confirm").open`)
	require.Contains(t, eval[string](b, `document.querySelector("#silence-matchers").value`), "alertname=HostIsThere")
	b.fill("#silence-note", "known")
	b.press("#confirm-yes")
	b.until(`document.querySelector('#silences-list li[data-phase="active"]')`)
	b.until(fmt.Sprintf(`document.querySelector('%s p')?.textContent.includes("not told: silence")`, row))
	if name := os.Getenv("BERTHD_SCREENSHOT_ALERTS"); name != "" {
		b.screenshot(name)
	}
	b.press(`#silences-list [data-verb=end]`)
	b.until(`document.querySelector('#silences-list li[data-phase="expired"]')`)

	b.fill("#alerts-find", "node-0002")
	b.until(`document.querySelectorAll("#alerts-list li").length === 1`)
	b.fill("#alerts-find", " ")
	b.press(`#rules-list [data-verb=remove]`)
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(`document.querySelectorAll('#alerts-list li[data-phase="resolved"]').length === 3`)
	require.Empty(t, eval[[]string](b, unnamed))
	b.do(chromedp.EmulateViewport(390, 800))
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	b.clean("status of 422")
}
