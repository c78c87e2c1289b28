module github.com/berthage/berthage

go 1.25.0
