package pagerduty_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/pagerduty"
)

func ExampleNew() {
	n, err := pagerduty.New(pagerduty.Config{
		RoutingKey: notify.NewSecret("0123456789abcdef0123456789abcdef"),
		Endpoint:   "https://events.eu.pagerduty.com",
	})
	fmt.Println(n != nil, err)
	_, err = pagerduty.New(pagerduty.Config{RoutingKey: notify.NewSecret("my key")})
	fmt.Println(err)
	// Output:
	// true <nil>
	// configure receiver: routing_key invalid: an integration key of 32 letters and digits
}
