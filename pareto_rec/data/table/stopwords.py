"""Stop words: words that link others, in languages that catalogues are written in."""

from __future__ import annotations

_WORDS = """
about above after again all also and any are because been before below between both but can could
did does down during each else ever few for from further had has have her here hers him his how
into its just let more most much must nor not now off once only other our ours out over own same
she should some such than that the their theirs them then there these they this those through too
under until upon very via was were what when where which while who whom why will with would yet you
your yours

aber alle als am auch auf aus bei bin bis das dass dem den der des die dies diese dieser doch dort
durch ein eine einem einen einer eines für ganz gegen habe haben hat hier ihr ihre ihren ins ist
kann kein keine man mehr mein mit nach nicht nichts noch nur oder ohne sehr sein seine sich sie sind
über und uns unser unter viel vom von vor war was wenn wer wie wir wird wurde zum zur zwischen

alors aux avec ces cet cette chez comme dans des donc dont elle elles entre est eux ils leur leurs
mais mes moi mon même nos notre nous par pas plus pour quand que qui sans ses son sont sous sur tes
toi ton très une votre vos vous été être

algo como con contra cual cuando del desde donde ella ellas ellos entre era eran esta este esto
estas estos fue hay las les los más mi muy nada nos otra otro para pero por porque qué que quien
según ser sin sobre son sus también tan tiene todo todos una uno unos unas

agli alla alle anche che chi come con cosa cui dagli dai dal dalla dalle degli dei del della delle
dello dove era essere fra gli hanno ho il loro lui mio nel nella nelle noi non ogni per perché più
quale quando quella quello questa questo sei senza sia sono suo sua sul sulla tra tutti tutto voi

ao aos até com da das depois dos ela elas ele eles em essa esse esta este eu foi isso isto mais mas
mesmo meu muito na nas nem no nos nossa nosso num numa não para pela pelo por quando que quem
sem ser seu seus sua suas são também tem uma umas uns você

aan als bij dan dat deze die dit door een heb heeft het hier hij hun ik is kan maar met mijn naar
niet nog ook onder ons onze over tot uit van voor waar was wat wel werd wij worden wordt ze zij zijn

без был была были быть вам вас весь вот все всех где для его ещё если есть или как когда кто меня
мне мой моя над нас наш него нее нет них она они оно под при про так там тебя того тоже той только
тот три тут уже чем что чтобы эта эти это этот
"""
STOP_WORDS = frozenset(_WORDS.split())
