// bboltcheck FILE...: let bbolt itself check database files, then change a
// copy of each (delete and write in every bucket) and check that again.
//
// bboltcheck -dump FILE: every bucket with its sequence, every key and value,
// but for the times that containerd's schema has.
//
// bboltcheck -records FILE: the same to the byte: keys and values in hex.
//
// bboltcheck -check FILE...: Tx.Check of files that may be damaged, and no more.
//
// bboltcheck -plant FILE: put records into a meta.db that this machine's containerd
// cannot make: snapshots of snapshotters that it lacks, in several namespaces.
package main

import (
	"fmt"
	"io/ioutil"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

func check(db *bolt.DB, name string) (bad bool) {
	err := db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			fmt.Printf("%s: %v\n", name, err)
			bad = true
		}
		return nil
	})
	if err != nil {
		fmt.Printf("%s: %v\n", name, err)
		bad = true
	}
	return bad
}

// touch deletes every third plain key, changes the others' length and adds new ones.
func touch(b *bolt.Bucket, depth int) error {
	var plain, nested [][]byte
	err := b.ForEach(func(k, v []byte) error {
		key := append([]byte(nil), k...)
		if v == nil {
			nested = append(nested, key)
		} else {
			plain = append(plain, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, k := range plain {
		if i%3 == 0 {
			err = b.Delete(k)
		} else {
			err = b.Put(k, append([]byte("changed "), make([]byte, i%300)...))
		}
		if err != nil {
			return err
		}
	}
	for i := 0; i < 3; i++ {
		if err := b.Put([]byte(fmt.Sprintf("new %d", i)), make([]byte, 100*i)); err != nil {
			return err
		}
	}
	for i, k := range nested {
		if depth > 2 && i%5 == 4 {
			err = b.DeleteBucket(k)
		} else {
			err = touch(b.Bucket(k), depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func one(name string) bool {
	data, err := ioutil.ReadFile(name)
	if err != nil {
		fmt.Println(err)
		return true
	}
	copied, err := ioutil.TempFile("", "bboltcheck")
	if err != nil {
		fmt.Println(err)
		return true
	}
	defer os.Remove(copied.Name())
	if _, err := copied.Write(data); err != nil {
		fmt.Println(err)
		return true
	}
	copied.Close()
	db, err := bolt.Open(copied.Name(), 0600, nil)
	if err != nil {
		fmt.Printf("%s: %v\n", name, err)
		return true
	}
	defer db.Close()
	if check(db, name) {
		return true
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(k []byte, b *bolt.Bucket) error { return touch(b, 0) })
	})
	if err != nil {
		fmt.Printf("%s: update: %v\n", name, err)
		return true
	}
	return check(db, name+" after an update")
}

func dumpBucket(b *bolt.Bucket, path string) error {
	fmt.Printf("%s (%d)\n", path, b.Sequence())
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return dumpBucket(b.Bucket(k), fmt.Sprintf("%s/%q", path, k))
		}
		if string(k) == "createdat" || string(k) == "updatedat" {
			v = []byte("a time")
		}
		fmt.Printf("%s/%q = %q\n", path, k, v)
		return nil
	})
}

func dump(name string) error {
	db, err := bolt.Open(name, 0600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(k []byte, b *bolt.Bucket) error { return dumpBucket(b, fmt.Sprintf("%q", k)) })
	})
}

func records(b *bolt.Bucket, path string) error {
	return b.ForEach(func(k, v []byte) error {
		at := fmt.Sprintf("%s/%x", path, k)
		if v != nil {
			fmt.Printf("%s = %x\n", at, v)
			return nil
		}
		sub := b.Bucket(k)
		fmt.Printf("%s (%d)\n", at, sub.Sequence())
		return records(sub, at)
	})
}

func view(name string, fn func(tx *bolt.Tx) error) error {
	db, err := bolt.Open(name, 0600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(fn)
}

func allRecords(tx *bolt.Tx) error {
	return tx.ForEach(func(k []byte, b *bolt.Bucket) error {
		fmt.Printf("/%x (%d)\n", k, b.Sequence())
		return records(b, fmt.Sprintf("/%x", k))
	})
}

func checkOnly(tx *bolt.Tx) (last error) {
	for err := range tx.Check() {
		fmt.Println(err)
		last = fmt.Errorf("damaged")
	}
	return last
}

// plantOne writes one snapshot as containerd's metadata does; the label keeps it.
func plantOne(all *bolt.Bucket, ns, key, parent string) error {
	seq, err := all.NextSequence()
	if err != nil {
		return err
	}
	b, err := all.CreateBucketIfNotExists([]byte(key))
	if err != nil {
		return err
	}
	now, err := time.Now().UTC().MarshalBinary()
	if err != nil {
		return err
	}
	fields := map[string]string{"name": fmt.Sprintf("%s/%d/%s", ns, seq, key),
		"createdat": string(now), "updatedat": string(now)}
	if parent != "" {
		fields["parent"] = parent
		children, err := all.Bucket([]byte(parent)).CreateBucketIfNotExists([]byte("children"))
		if err != nil {
			return err
		}
		if err := children.Put([]byte(key), nil); err != nil {
			return err
		}
	}
	for k, v := range fields {
		if err := b.Put([]byte(k), []byte(v)); err != nil {
			return err
		}
	}
	labels, err := b.CreateBucketIfNotExists([]byte("labels"))
	if err != nil {
		return err
	}
	return labels.Put([]byte("containerd.io/gc.root"), []byte("planted"))
}

func plant(name string) error {
	db, err := bolt.Open(name, 0600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bolt.Tx) error {
		for _, ns := range []string{"k8s.io", "moby", "buildkit"} {
			b := tx.Bucket([]byte("v1"))
			for _, key := range []string{ns, "snapshots", "btrfs"} {
				if b, err = b.CreateBucketIfNotExists([]byte(key)); err != nil {
					return err
				}
			}
			parent := ""
			for i := 0; i < 20; i++ {
				key := fmt.Sprintf("planted-%02d", i)
				if err := plantOne(b, ns, key, parent); err != nil {
					return err
				}
				if parent = key; i%5 == 4 {
					parent = ""
				}
			}
		}
		return nil
	})
}

func main() {
	status := 0
	if len(os.Args) > 2 && os.Args[1] == "-check" {
		for _, name := range os.Args[2:] {
			if err := view(name, checkOnly); err != nil {
				fmt.Println(err)
				status = 1
			}
		}
		os.Exit(status)
	}
	if len(os.Args) == 3 && os.Args[1][0] == '-' && os.Args[1] != "-dump" {
		var err error
		switch os.Args[1] {
		case "-records":
			err = view(os.Args[2], allRecords)
		case "-plant":
			err = plant(os.Args[2])
		default:
			err = fmt.Errorf("unknown option %s", os.Args[1])
		}
		if err != nil {
			fmt.Println(err)
			status = 1
		}
		os.Exit(status)
	}
	if len(os.Args) == 3 && os.Args[1] == "-dump" {
		if err := dump(os.Args[2]); err != nil {
			fmt.Println(err)
			status = 1
		}
		os.Exit(status)
	}
	for _, name := range os.Args[1:] {
		if one(name) {
			status = 1
		}
	}
	os.Exit(status)
}
