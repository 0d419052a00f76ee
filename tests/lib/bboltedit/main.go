// bboltedit FILE VERB KEY...: one edit of a bbolt file, as somebody who breaks it would make.
//
//	get KEY...            print a value as text
//	number KEY...         print a value that is a Go uvarint
//	put KEY... VALUE      VALUE may have \x00 escapes; missing buckets are made
//	delete KEY...         a value, or a bucket with all below it
//	sequence KEY... N     of a bucket
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

func walk(tx *bolt.Tx, keys []string, make bool) (*bolt.Bucket, error) {
	var err error
	b := tx.Bucket([]byte(keys[0]))
	for i, key := range keys[1:] {
		if b == nil {
			return nil, fmt.Errorf("there is no %v", keys[:i+1])
		}
		if make {
			if b, err = b.CreateBucketIfNotExists([]byte(key)); err != nil {
				return nil, err
			}
			continue
		}
		b = b.Bucket([]byte(key))
	}
	if b == nil {
		return nil, fmt.Errorf("there is no %v", keys)
	}
	return b, nil
}

func show(tx *bolt.Tx, verb string, keys []string) error {
	b, err := walk(tx, keys[:len(keys)-1], false)
	if err != nil {
		return err
	}
	v := b.Get([]byte(keys[len(keys)-1]))
	if v == nil {
		return fmt.Errorf("there is no %v", keys)
	}
	if verb == "get" {
		fmt.Printf("%s\n", v)
		return nil
	}
	n, _ := binary.Uvarint(v)
	fmt.Println(n)
	return nil
}

func change(tx *bolt.Tx, verb string, args []string) error {
	last := args[len(args)-1]
	switch verb {
	case "put":
		keys := args[:len(args)-1]
		value, err := strconv.Unquote(`"` + last + `"`)
		if err != nil {
			return err
		}
		b, err := walk(tx, keys[:len(keys)-1], true)
		if err != nil {
			return err
		}
		return b.Put([]byte(keys[len(keys)-1]), []byte(value))
	case "delete":
		b, err := walk(tx, args[:len(args)-1], false)
		if err != nil {
			return err
		}
		if b.Bucket([]byte(last)) != nil {
			return b.DeleteBucket([]byte(last))
		}
		if b.Get([]byte(last)) == nil {
			return fmt.Errorf("there is no %v", args)
		}
		return b.Delete([]byte(last))
	case "sequence":
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return err
		}
		b, err := walk(tx, args[:len(args)-1], false)
		if err != nil {
			return err
		}
		return b.SetSequence(n)
	}
	return fmt.Errorf("unknown verb %s", verb)
}

func run(file, verb string, args []string) error {
	db, err := bolt.Open(file, 0600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	if verb == "get" || verb == "number" {
		return db.View(func(tx *bolt.Tx) error { return show(tx, verb, args) })
	}
	return db.Update(func(tx *bolt.Tx) error { return change(tx, verb, args) })
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: bboltedit FILE VERB KEY KEY... [VALUE]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintf(os.Stderr, "bboltedit: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
