package jira_test

import (
	"fmt"

	"github.com/berthage/berthage/notify/jira"
)

func ExampleQuoteJQL() {
	fmt.Println("labels = " + jira.QuoteJQL(`web" OR project != "OPS`))
	// Output:
	// labels = "web\" OR project != \"OPS"
}
