package act

import "strings"

// words has 256 short English words that sound unlike each other. Nothing
// writes to it.
var words = strings.Fields(`
acid agent album alarm alley amber anchor angle apple apron arrow atlas
audio autumn axis bacon badge bamboo banjo barrel basil basket beacon bishop
bison blanket blossom bonfire bottle bridge bronze bubble bucket buffalo bundle butter
cabin cactus camel canal candle canoe canvas carbon cargo carpet castle cedar
cello chalk cherry chess chimney cider cinema circus citrus clay clock clover
cobalt coffee comet compass copper coral cotton cousin cradle crater cricket crystal
curtain cymbal dagger daisy dancer desert diamond dinner doctor dolphin domino donkey
dragon drum eagle easel echo elbow ember engine envelope falcon fabric feather
fennel ferry fiddle finger flannel flute forest fossil fountain fox frost galaxy
garden garlic gazelle ginger giraffe glacier globe goblet granite grape guitar gypsum
hammer harbour harvest hazel helmet herring hockey honey horizon hotel hunter iceberg
igloo indigo island ivory jacket jaguar jasmine jewel jigsaw jungle kernel kettle
kitchen kiwi ladder lagoon lantern lemon leopard library lily linen lizard lobster
lotus magnet mango maple marble meadow melon mercury meteor mirror monkey mosaic
motor muffin nectar needle nickel noodle nutmeg oasis ocean olive onion opera
orbit orchid otter oxygen oyster paddle panda paper parrot pebble pelican pencil
pepper piano pigeon pilot pirate planet plaza pocket pony poplar potato prism
pumpkin puzzle pyramid quartz rabbit radar raven ribbon rice river robin rocket
ruby saddle saffron salmon sandal sapphire satin saturn scarf shadow silver siren
spider spruce statue summer sunset tango temple thunder tiger timber tomato tulip
trumpet tunnel turtle umbrella valley vanilla velvet violet walnut whale window wagon winter yogurt zebra zipper
`)

// Words is a digest's first 48 bits as six words, which people who look at
// different screens read to each other.
func Words(digest [32]byte) []string {
	w := make([]string, 6)
	for i := range w {
		w[i] = words[digest[i]]
	}
	return w
}
