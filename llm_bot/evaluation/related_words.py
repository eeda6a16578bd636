"""Words that go together in the talk of a room where people watch and chat.

Made for this project by hand, from nothing but its author's idea of such talk; no list, thesaurus
or corpus was copied. English mainly, with some German and Spanish. A word may stand in several
groups. The table knows everyday subjects only: it can't relate names of people or of films.
"""

from __future__ import annotations

from llm_bot.evaluation.words import root_of

_GROUPS = {
    "film": """film movie cinema theater theatre screen scene director filmmaker actor actress cast
        plot ending trailer sequel prequel remake reboot franchise camera shot shoot cgi effects
        stunt script screenplay villain hero character spoiler genre blockbuster oscar academy noir
        lighting costume cut premiere studio hollywood footage cinematography role budget practical
        kino pelicula peli cine regisseur schauspieler escena actores movies films cinemas
        documentary thriller western drama romance animation animated pixar superhero spielberg
        cinematographer editor editing monologue credits opening title cameo protagonist sidekick
        oscars award awards imax vfx lens filming filmed studios flick""",
    "series": """show series season episode ep episodes finale pilot sitcom anime cartoon tv
        television binge streaming netflix spinoff showrunner cancelled serie staffel folge
        temporada capitulo sopranos simpsons reruns rerun network cliffhanger soap drama
        miniseries""",
    "scary": """horror scary scared scare jump jumpscare ghost haunted monster creepy creature
        dread slasher vampire zombie nightmare gore blood dark killer terrifying spooky miedo
        gruselig spider demon witch horrors frightening frightened curse cursed exorcist possessed
        clown fright scream screaming bloody gory werewolf""",
    "funny": """funny comedy comedies joke jokes hilarious laugh laughing laughter humour humor
        silly lol lmao standup parody pun lustig komödie gracioso comedia comedian sketch gag
        punchline satire sarcasm sarcastic witty""",
    "music": """music song songs track album record band singer sing singing lyrics verse chorus
        melody tune bass bassline drum drums drummer guitar guitars chord piano synth synths
        keyboard playlist vinyl turntable spin concert gig tour rapper rap house techno jazz rock
        punk surf pop riff solo rhythm beat beats tempo headphones score soundtrack composer
        orchestra note notes producer remix cover genre string strings musik lied sänger schlagzeug
        gitarre musica cancion temazo canta cantante disco bailar violin cello trumpet sax
        saxophone flute opera choir vocals vocal metal folk blues soul funk reggae country hiphop
        edm dj mixtape single chart banger anthem ballad harmony acoustic electric amp amps encore
        drummers bassist vocalist soprano frontman debut discography release""",
    "event": """concert festival gig ticket tickets stage crowd tour resale venue queue sold lineup
        headliner entry price stadium seat row show performance audience backstage encore gigs
        arena""",
    "video": """stream streaming lag laggy lagging buffer buffering choppy freeze frozen refresh
        reload quality resolution 1080p 720p 480p player button volume audio sound muted subtitle
        subtitles subs captions cc screen black video link links skip vote queue playlist mod mods
        browser loading load slider bitrate hd loud quiet untertitel pixelated frame fps lagged
        stuck upload youtube videos clip playback sync synced playing codec turn mute unmute
        skipped desync tab""",
    "computer": """computer pc laptop phone code coding program programming python rust java
        software app bot update install server bug crash linux windows keyboard password internet
        network router wifi website screen battery charger reboot developer script database
        algorithm speed compile coder engineer file files folder data backup virus hack hacker web
        site online offline login account email ssd gpu cpu ram api html compiler function repo
        git""",
    "game": """game games gaming gamer minecraft level boss console controller xbox playstation
        nintendo steam quest player lobby multiplayer build speedrun loot spiel juego zelda mario
        pokemon rpg mmo fps respawn guild patch dlc arcade chess dice boardgame cards poker puzzle
        players""",
    "food": """food eat eating ate hungry dinner lunch breakfast snack snacks pizza burger pasta
        noodles rice bread cheese egg eggs sauce garlic onion salt salty sugar sweet butter cream
        cake caramel chocolate cook cooking cooked bake baking oven recipe fridge leftover
        leftovers taco tacos kitchen boil fry taste delicious popcorn meal restaurant spicy cold
        vegan meat grill soup salad essen hunger rezept comida cocina receta hambre huevos
        palomitas fruit apple banana strawberry potato potatoes fries sandwich sushi ramen steak
        beef pork bacon fish vegetable vegetables vegetarian mushroom mushrooms pepper chili hot
        spice dessert icecream cookie cookies pie pancake pancakes waffle cereal toast olive oil
        pan pot stove barbecue bbq curry dish chef hamburger spaghetti lasagna tomato dough flour
        yeast""",
    "drink": """drink drinking coffee tea decaf caffeine espresso beer wine whisky vodka cocktail
        bar pub water juice soda milk cup drunk thirsty hangover kaffee bier cerveza cafe vino brew
        brewed latte cappuccino rum gin lemonade glass bottle sip thirst pint""",
    "weather": """weather rain raining rainy pour pouring wet dry snow snowing sunny sun storm wind
        windy cool hot heat mild freezing degrees umbrella jacket cloud spring summer winter autumn
        fan ventilator forecast humid wetter heiß grad regen schnee sommer lluvia calor frio sol
        nieve tiempo cloudy thunder lightning fog foggy ice icy frost hail heatwave sunshine
        temperature celsius fahrenheit thunderstorm hurricane flood january february march april
        may june july august september october november december blizzard coat""",
    "day": """today tomorrow tonight yesterday morning afternoon evening night noon midnight day
        week weekend monday tuesday wednesday thursday friday saturday sunday early late am pm
        heute morgen abend nacht hoy mañana noche weekday dawn dusk sunrise sunset""",
    "time": """time hour hours minute minutes long short length runtime duration slow quick clock
        till until soon forever stunde stunden minuten hora horas minutos dura largo pace""",
    "years": """year years decade eighties seventies nineties 60s 70s 80s 90s old new classic
        vintage age aged born young youth century modern back retro 1970s 1980s 1990s oldies
        nostalgia nostalgic childhood""",
    "sleep": """sleep sleeping asleep sleepy bed bedtime tired nap awake wake dream dreaming night
        goodnight insomnia pillow blanket alarm exhausted schlafen müde dormir sueño cama snore
        snoring mattress sleepless rest couch drowsy zzz""",
    "work": """work working job boss office meeting monday colleague interview hire hired salary
        career shift remote commute company deadline resign quit arbeit chef büro trabajo jefe
        employer employee coworker coworkers team project paycheck client customer unemployed
        freelance retire retired profession overtime""",
    "school": """school exam exams test final finals study studying revise revision homework class
        teacher student university college grade pass passed fail failed chemistry math maths
        physics history lecture essay learn learning practice lesson schule prüfung examen escuela
        quiz classroom teaching grades degree graduate graduated thesis paper professor
        kindergarten biology geography pupil semester""",
    "travel": """travel trip holiday vacation flight flights fly plane airport hotel hostel train
        trains bus tram car drive driving road ticket passport visa luggage beach abroad tourist
        booking book booked city delay delayed cancelled refund station reise flug zug bahn viaje
        vuelo tren passenger suitcase bag pack packing airline pilot ferry ship cruise subway metro
        taxi uber motorway highway traffic jam map sightseeing visit visiting""",
    "outdoors": """hike hiking trail walk walking mountain forest camp camping park river lake
        climb socks boots bike cycling swim swimming fishing hill valley tent woods sea ocean sand
        surf waterfall backpack kayak canoe ski skiing snowboard""",
    "garden": """garden gardening plant planted plants tomato tomatoes flower seed seeds soil water
        watering slug slugs pot pots ripe grow growing harvest lawn weed leaf leaves basil bloom
        blossom rose roses herb herbs compost balcony vegetable greenhouse prune tree trees
        bush""",
    "sport": """sport sports football soccer basketball tennis match game goal goals score scored
        keeper team league striker winger player coach cup season win won lose lost penalty referee
        half fußball tor futbol partido gol offside champion baseball hockey cricket rugby golf
        boxing boxer ufc olympics medal championship tournament final finals playoffs fan fans
        stadium quarterback touchdown nba nfl f1 race racing driver kick pass tackle defence
        defender offence draw""",
    "fitness": """run running ran race marathon gym workout train training muscle muscles lift
        kilometre kilometer km 5k 10k 3k jog jogging fit fitness stretch stamina legs pace sprint
        cardio yoga squat squats bench weights protein diet calories""",
    "health": """sick ill flu cold fever headache head pain hurt hurts hurting doctor nurse
        hospital medicine pill pills cough injury injured ankle swollen sore finger fingers tooth
        dentist heal rest krank arzt enfermo tea blanket feel surgery virus covid allergy allergic
        vaccine ache stomach throat nose sneeze painkiller ibuprofen bandage broken leg arm knee
        therapist therapy recover recovery migraine antibiotics symptom symptoms""",
    "animal": """animal animals pet pets dog dogs puppy cat cats kitten vet bird fish shark horse
        cow hamster breed bark tail sheep fur hund katze perro gato rabbit mouse rat snake parrot
        birds duck goose goat pig lion tiger bear wolf elephant monkey whale dolphin turtle lizard
        frog bee bees insect litter leash purr meow puppies""",
    "family": """family mother mom mum father dad sister brother brothers son daughter baby kid
        kids parents uncle aunt grandma grandpa cousin wife husband wedding marry married ring
        familie abuela madre padre hermano parent grandparents grandmother grandfather granny
        nephew niece twins siblings sibling toddler relatives boyfriend girlfriend partner divorce
        divorced pregnant""",
    "money": """money cost costs price prices pay paid cheap expensive dollar dollars euro euros
        pound pounds quid million budget sale buy bought sell sold afford rich poor free bank
        refund tax stock worth geld teuer billig dinero caro barato wallet cash credit loan debt
        rent salary bill bills discount bargain shop shopping store fee crypto bitcoin currency
        spend spent""",
    "death": """die died dies dead death kill killed killer murder funeral grave live lives alive
        survive survived ghost body muerto murió tot gestorben buried dying passed rip suicide
        victim corpse burial heaven deceased""",
    "looks": """hair haircut bangs fringe cut shave beard makeup outfit dress clothes shirt jacket
        hat hats hoodie shoes fashion style mirror look looks skin jeans pants sweater socks boots
        sneakers glasses tattoo blonde curly bald wig perfume""",
    "home": """home house flat apartment room kitchen fridge garage attic basement clean cleaned
        cleaning tidy door window key keys sofa couch bed furniture wall rent landlord lost found
        drawer wohnung fenster casa bathroom toilet shower bath roof ceiling floor stairs garden
        neighbour neighbours neighbor dishes laundry vacuum washing kettle lamp light moving
        tenant""",
    "place": """country city town capital state island village north south map border europe
        america asia australia land region london paris berlin tokyo york madrid rome mountains
        coast population africa canada mexico germany france spain italy japan china england
        ireland scotland""",
    "space": """space moon sun planet planets mars star stars orbit rocket nasa astronaut galaxy
        universe earth far distance km alien aliens ufo comet asteroid spaceship spacecraft launch
        lunar solar telescope cosmos""",
    "story": """story plot arc ending twist book novel read reading author writer chapter page
        character dream wizard dragon hero fantasy tells talk comic fiction quote line lines tale
        myth legend fairy prophecy kingdom king queen sword magic poem poetry poet library publish
        published protagonist narrator villain elf dwarf""",
    "people": """name named called guy woman man girl boy person someone somebody everybody people
        human actor star program bot robot chat folks guys dude bro lady child adult neighbour
        stranger friend friends buddy""",
    "learnlang": """language word words say said pronounce pronounced pronunciation accent speak
        spelling letter silent translate english french german spanish sprache idioma vocabulary
        grammar translation dialect phrase alphabet fluent slang syllable""",
    "aim": """goal goals aim aims plan plans planning want wants wish hope accomplish achieve
        achievement finish start begin priority priorities important focus decide target task tasks
        ambition progress habit habits explore set ziel meta objetivo intention intend purpose
        hoping resolution motivation motivated productive schedule routine""",
    "praise": """good great best amazing insane brilliant genius awesome love loved loves beautiful
        fantastic perfect excellent incredible nice cool favourite favorite masterpiece underrated
        better top sick slaps banger goat worth brave stylish buenisima toll super genial wonderful
        superb stunning gorgeous legendary epic lovely fun enjoyed enjoy enjoyable impressive
        impressed charming classy iconic touching""",
    "blame": """bad worst terrible awful hate hated hates boring trash garbage overrated mid ugly
        fake ruined sucks stupid useless worse unbearable disappointing embarrassing dull lame
        cheap harsh schlecht langweilig malo aburrido rubbish crap dumb pointless annoying annoyed
        cringe mess messy flop disaster horrible disappointed hideous""",
    "mood": """sad happy angry cry crying tears lonely stress stressed anxious worried nervous calm
        excited upset mad depressed miss fear afraid traurig triste feliz joy sadness anger grief
        heartbroken heartbreak relief relieved bored ashamed embarrassed proud jealous moody
        cheerful tearful hug""",
    "party": """birthday party cake present gift celebrate celebration wish candles anniversary
        congrats congratulations geburtstag cumpleaños fiesta balloons invite invited guests host
        toast christmas halloween easter wedding costume gifts presents drinks""",
    "watching": """watch watched watching seen see saw rewatch look view picture shown showing
        schauen sehen ver vio viewing viewer viewers spectator stare glance""",
    "social": """chat room join joined welcome rules mod mods ban banned post emote message spam
        links thread comment comments follow follower username nickname profile admin moderator""",
    "luck": """luck lucky fingers hope chance bet bets jinx odds fortune unlucky gamble gambling
        casino lottery risk coin""",
    "crash": """explosion explosions explode exploded blew blow bomb fire bridge crash chase gun
        fight fighting war battle shoot action stunt loud shooting bullet sword punch kick chases
        stunts soldier army tank helicopter missile weapon grenade attack""",
}


def _table() -> dict[str, int]:
    """A bit for each group, by stem."""
    found: dict[str, int] = {}
    for number, words in enumerate(_GROUPS.values()):
        for word in words.split():
            root = root_of(word)
            found[root] = found.get(root, 0) | 1 << number
    return found


GROUPS_OF: dict[str, int] = _table()
"""The groups of a stem, one bit each; a stem that isn't here has none."""


def names_of(mask: int) -> list[str]:
    """The groups that a mask stands for, to look at.

    >>> names_of(GROUPS_OF[root_of("umbrellas")])
    ['weather']
    """
    return [name for number, name in enumerate(_GROUPS) if mask >> number & 1]
