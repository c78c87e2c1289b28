package email_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/email"
)

func ExampleNew() {
	c := email.Config{
		Server: "smtp.example.com", Username: "berth", Password: notify.NewSecret("password"),
		From: "Berth <alerts@example.com>", To: []string{"Operations <ops@example.com>"},
	}
	_, err := email.New(c)
	fmt.Println(err)

	c.To = []string{"ops@example.com\r\nBcc: all@example.com"}
	_, err = email.New(c)
	fmt.Println(err)
	// Output:
	// <nil>
	// configure receiver: to invalid: an address such as ops@example.com or Ops <ops@example.com>
}
