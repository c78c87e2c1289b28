module github.com/berthage/berthage/examples

go 1.26.0

replace github.com/berthage/berthage => ..
