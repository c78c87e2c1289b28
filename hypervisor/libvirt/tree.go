package libvirt

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
)

// element is an XML element with everything in it. A definition that is changed goes through a tree of these rather
// than through the types of this package, which know only what the driver itself writes: libvirt adds addresses,
// controllers, labels, and a person may have added anything.
type element struct {
	name     xml.Name
	attrs    []xml.Attr
	text     string // what stands beside the children; where there are any it is white space
	children []*element
}

// readTree parses a document.
func readTree(what, text string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	var stack []*element
	var root *element
	for {
		token, err := d.Token()
		if err == io.EOF && root != nil && len(stack) == 0 {
			return root, nil
		}
		if err == nil && root != nil && len(stack) == 0 {
			if _, ok := token.(xml.StartElement); ok {
				err = errors.New("more than one document")
			}
		}
		if err != nil {
			return nil, unreadable(what, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name}
			for _, a := range t.Attr {
				// Each name knows its space; the declarations are written anew.
				if a.Name.Space != "xmlns" && a.Name != (xml.Name{Local: "xmlns"}) {
					e.attrs = append(e.attrs, a)
				}
			}
			if len(stack) == 0 {
				root = e
			} else {
				parent := stack[len(stack)-1]
				parent.children = append(parent.children, e)
			}
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(t)
			}
		}
	}
}

// MarshalXML implements xml.Marshaler.
func (e *element) MarshalXML(enc *xml.Encoder, _ xml.StartElement) error { return e.write(enc, "") }

// write writes the element into one of another space. The encoder names the space of every element that has one, but
// does not say where one ends.
func (e *element) write(enc *xml.Encoder, space string) error {
	start := xml.StartElement{Name: e.name, Attr: e.attrs}
	if e.name.Space == "" && space != "" {
		start.Attr = append(slices.Clone(e.attrs), xml.Attr{Name: xml.Name{Local: "xmlns"}})
	}
	if err := enc.EncodeToken(start); err != nil {
		return err
	}
	if len(e.children) == 0 && e.text != "" {
		if err := enc.EncodeToken(xml.CharData(e.text)); err != nil {
			return err
		}
	}
	for _, c := range e.children {
		if err := c.write(enc, e.name.Space); err != nil {
			return err
		}
	}
	return enc.EncodeToken(start.End())
}

// at returns the first element below e on the path of names, or nil. It may be called on nil.
func (e *element) at(path ...string) *element {
	for _, name := range path {
		if e == nil {
			return nil
		}
		i := slices.IndexFunc(e.children, func(c *element) bool { return c.name.Local == name })
		if i < 0 {
			return nil
		}
		e = e.children[i]
	}
	return e
}

// put returns the child of that name, which it makes where there is none.
func (e *element) put(name string) *element {
	if c := e.at(name); c != nil {
		return c
	}
	c := &element{name: xml.Name{Local: name}}
	e.children = append(e.children, c)
	return c
}

// attr returns an attribute, or nothing. It may be called on nil.
func (e *element) attr(name string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// set gives an attribute a value; an empty one removes it.
func (e *element) set(name, value string) {
	e.attrs = slices.DeleteFunc(e.attrs, func(a xml.Attr) bool { return a.Name.Local == name })
	if value != "" {
		e.attrs = append(e.attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
	}
}

// drop removes the children for which gone is true.
func (e *element) drop(gone func(*element) bool) { e.children = slices.DeleteFunc(e.children, gone) }

// treeOf is a value of this package's types as a tree.
func treeOf(v any) (*element, error) {
	text, err := write(v)
	if err != nil {
		return nil, err
	}
	return readTree("definition", text)
}
