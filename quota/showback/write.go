package showback

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteJSON writes the bill as one JSON object. Errors are w's.
func (b *Bill) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(b) }

// WriteCSV writes the bill as CSV (RFC 4180) with a line of headings, one line for each item. held is in the unit of the class times
// seconds, price and cost in millionths of the currency; price is empty where there is none. Errors are w's.
//
// A text that a spreadsheet would take for a formula is written with an apostrophe before it.
func (b *Bill) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	from, until := b.From.UTC().Format(time.RFC3339Nano), b.Until.UTC().Format(time.RFC3339Nano)
	if err := c.Write([]string{"from", "until", "project", "owner", "driver", "flavor", "class", "held", "price", "cost", "currency"}); err != nil {
		return err
	}
	for _, i := range b.Items {
		price := ""
		if i.Priced {
			price = strconv.FormatInt(i.Price, 10)
		}
		if err := c.Write([]string{
			from, until, text(i.Project), text(i.Owner), text(i.Driver), text(i.Flavor), text(string(i.Class)),
			i.Held.String(), price, strconv.FormatInt(i.Cost, 10), text(b.Currency),
		}); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// text returns a cell that no spreadsheet takes for a formula, whichever characters its program takes for the sign of one.
func text(s string) string {
	if strings.IndexAny(s, "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20") == 0 {
		return "'" + s
	}
	return s
}
