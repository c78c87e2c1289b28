package notifytest_test

import (
	"context"
	"fmt"

	"github.com/berthage/berthage/notify/notifytest"
)

// In a test it is notifytest.Run(t, setup). A program can ask for a case alone.
func ExampleCase_Judge() {
	for _, c := range notifytest.Cases() {
		if c.Name == "end-alone" {
			fmt.Println(c.Rule)
			fmt.Println(len(c.Judge(context.Background(), setup("end-alone"))) > 0)
		}
	}
	// Output:
	// an end of what the receiver never heard of is not sent
	// true
}
