package slack_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/slack"
)

// Values in a template are escaped, whatever it says.
func ExampleEscape() {
	body, err := notify.ParseText("*{{len .Firing}}* on {{range .Firing}}{{.Labels.vm}}{{end}}", slack.Escape)
	if err != nil {
		panic(err)
	}
	s, err := body.Render(notify.Message{Firing: []notify.Alert{{Labels: map[string]string{"vm": "<!channel>"}}}})
	fmt.Println(s, err)
	// Output:
	// *1* on &lt;!channel&gt; <nil>
}
